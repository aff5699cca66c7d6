// SPDX-License-Identifier: Apache-2.0

package vty

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

func FuzzReply(f *testing.F) {
	f.Add([]byte("text\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x0a\x00\x00\x00\x01"))
	f.Add([]byte("a\x00b\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(b), 16)
		var again []byte
		for {
			reply, err := readReply(r)
			if err != nil {
				break
			}
			if strings.IndexByte(reply.Output, 0) >= 0 {
				t.Fatalf("NUL in the text %q", reply.Output)
			}
			again = append(again, reply.Output...)
			again = append(again, 0, 0, 0, byte(reply.Status))
		}
		if !bytes.HasPrefix(b, again) {
			t.Fatalf("read replies %q from %q", again, b)
		}
	})
}
