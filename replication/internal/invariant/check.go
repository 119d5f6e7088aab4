package invariant

// Check panics if valid returns what contradicts the properties of room. It calls valid only if Enabled.
func Check(room string, valid func() error) {
	if !Enabled {
		return
	}
	if err := valid(); err != nil {
		panic(room + ": " + err.Error())
	}
}
