//go:build race || checked

package invariant

// Enabled reports whether properties are checked.
const Enabled = true
