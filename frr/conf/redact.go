// SPDX-License-Identifier: Apache-2.0

package conf

import "strings"

const (
	passwordWord = "password " // what precedes a secret in FRR's configuration
	redacted     = "[redacted]"
)

// Redact replaces everything that follows the word "password" on a line, so that the
// text can be logged and shown.
func Redact(text string) string {
	if !strings.Contains(text, passwordWord) {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if i := strings.Index(line, passwordWord); i >= 0 {
			b.WriteString(line[:i+len(passwordWord)])
			b.WriteString(redacted)
			line = line[len(strings.TrimRight(line, "\r\n")):]
		}
		b.WriteString(line)
	}
	return b.String()
}

// RedactAnswer does the same for FRR's answer to a line, in which the line's own
// password may stand anywhere.
func RedactAnswer(line, answer string) string {
	if _, secret, ok := strings.Cut(line, passwordWord); ok && secret != "" {
		answer = strings.ReplaceAll(answer, secret, redacted)
	}
	return Redact(answer)
}
