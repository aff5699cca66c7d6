// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// A Secret is a password that does not print itself. The zero Secret is empty;
// Secrets compare with ==.
type Secret struct {
	// masked is the password with every byte flipped. The methods below keep it
	// out of all that asks for a text; this keeps it out of what reads
	// unexported fields by reflection, such as cmp.Diff, and fmt where an
	// unexported field holds a Secret.
	masked string
}

// NewSecret returns a Secret that holds v.
func NewSecret(v string) Secret { return Secret{flip(v)} }

// Reveal returns the password. Only what goes to FRR may call it.
func (s Secret) Reveal() string { return flip(s.masked) }

func flip(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = ^b[i]
	}
	return string(b)
}

// IsZero reports whether there is no password.
func (s Secret) IsZero() bool { return s.masked == "" }

// String returns a placeholder, or nothing for the zero Secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format prints what String returns for every verb, also those that pass
// Stringer by, such as %d and %#v.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue returns the placeholder as a slog value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns the placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
