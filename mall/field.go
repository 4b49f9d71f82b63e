package mall

// FieldError says which field of a command or request is wrong, and why, in words that its sender may read.
type FieldError struct {
	// Field is the path to the field as it is written in JSON: "items[1].quantity".
	Field string
	// Reason is a short phrase without the value: "must be 1 to 1000000".
	Reason string
}

// Error returns the path and the reason.
func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }
