// SPDX-License-Identifier: Apache-2.0

package members

import "testing"

// What an earlier process of a node accepts may be passed on for longer than it runs. It
// does not count once the next one was heard, also while that one is no member yet.
func TestNoticeOfAnEarlierProcess(t *testing.T) {
	type heard struct{ epoch, member uint64 } // member: its epoch then; 0: the node is none
	for _, test := range []struct {
		name  string
		heard []heard
		want  uint64
	}{
		{"in order", []heard{{1, 0}, {2, 0}}, 2},
		{"the earlier one comes later", []heard{{2, 0}, {1, 0}}, 2},
		{"likewise, of a member", []heard{{2, 2}, {1, 2}}, 2},
		{"likewise, before the member's epoch", []heard{{1, 1}, {2, 1}, {1, 1}}, 2},
		{"a clock was set back", []heard{{2, 2}, {1, 1}}, 1},
		{"likewise, while the node was no member", []heard{{2, 0}, {1, 0}, {1, 1}}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := New(Options{Node: "n1", Keys: [][]byte{Key("new"), Key("old")}})
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, h := range test.heard {
				if h.member != 0 {
					l.alive["n2"] = peer{epoch: h.member}
				}
				l.noticed(message{node: "n2", kind: keysMsg, epoch: h.epoch, prints: []fingerprint{printOf(Key("new"))}})
			}
			if got := l.keys.notices["n2"].epoch; got != test.want {
				t.Errorf("the notice is of epoch %d, want %d", got, test.want)
			}
		})
	}
}
