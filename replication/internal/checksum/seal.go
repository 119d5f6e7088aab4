package checksum

import (
	"bytes"
	"fmt"
)

// mark begins the last member of a sealed object.
const mark = `,"sum":"`

// Seal adds to a JSON object, which has members and ends in its brace, the checksum of what stands before, as a last
// member that readers of before ignore.
func Seal(object []byte) []byte {
	body := object[:len(object)-1]
	return fmt.Appendf(bytes.Clone(body), `%s%08x"}`, mark, Of(body))
}

// Unbroken reports whether an object is as Seal made it, and whether it was sealed at all: one of an earlier version
// was not, and is taken as it is.
func Unbroken(object []byte) (unbroken, sealed bool) {
	i := bytes.LastIndex(object, []byte(mark))
	if i < 0 {
		return true, false
	}
	return bytes.Equal(bytes.TrimSpace(object[i:]), fmt.Appendf(nil, `%s%08x"}`, mark, Of(object[:i]))), true
}
