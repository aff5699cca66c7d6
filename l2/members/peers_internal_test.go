// SPDX-License-Identifier: Apache-2.0

package members

import (
	"strings"
	"testing"
)

// Nobody can say for good that an agent is of another version.
func TestVersionForged(t *testing.T) {
	l := New(Options{Node: "n1"})
	say := func(epoch uint64, version string) {
		m, err := parseMessage(message{node: "n2", kind: versionMsg, epoch: epoch, version: version}.append(nil))
		if err != nil {
			t.Fatal(err)
		}
		l.learnVersion(m)
	}
	say(1<<64-1, "forged")
	l.alive["n2"] = peer{epoch: 7}
	if v := l.versions.of("n2", 7); v != "" {
		t.Errorf("the version of another process counts: %q", v)
	}
	say(7, "v1")
	say(1<<64-1, "forged")
	say(7, strings.Repeat("x", maxVersion+1))
	if v := l.versions.of("n2", 7); v != "v1" {
		t.Errorf("the version is %q, want v1", v)
	}
	l.learnVersion(message{node: "n1", kind: versionMsg, epoch: 1, version: "of myself"})
	if len(l.versions) != 1 {
		t.Errorf("versions %v", l.versions)
	}
}
