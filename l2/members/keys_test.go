// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/l2/members"
)

// ring returns the keys of secrets.
func ring(secrets ...string) (out [][]byte) {
	for _, s := range secrets {
		out = append(out, members.Key(s))
	}
	return out
}

func with(secrets ...string) func(*members.Options) {
	return func(o *members.Options) { o.Keys = ring(secrets...) }
}

// whole fails if an agent does not see all others alive, all the time that f takes.
func whole(t *testing.T, a []*agent, f func()) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan string)
	go func() {
		var lost string
		for lost == "" {
			select {
			case <-stop:
				done <- ""
				return
			case <-time.After(50 * time.Millisecond):
			}
			for i, s := range a {
				if v := s.View(); len(v.Members) != len(a) || v.Stale {
					lost = fmt.Sprintf("agent %d sees %v, stale %v", i+1, v.Alive(), v.Stale)
				}
			}
		}
		done <- lost
	}()
	f()
	close(stop)
	if lost := <-done; lost != "" {
		t.Error(lost)
	}
}

// uses waits until all agents send with a key.
func uses(t *testing.T, a []*agent, secret string, atMost time.Duration) {
	t.Helper()
	deadline := time.Now().Add(atMost)
	for _, s := range a {
		for !members.SendsWith(s.List, members.Key(secret)) {
			if time.Now().After(deadline) {
				t.Fatalf("an agent does not send with %q after %v", secret, atMost)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// end stops the last agent, and waits until the others know.
func end(t *testing.T, a []*agent) {
	t.Helper()
	last := len(a) - 1
	if err := a[last].stop(); err != nil {
		t.Fatal(err)
	}
	for _, s := range a[:last] {
		s.await("the last one gone", func(v members.View) bool { return len(v.Members) == last })
	}
}

// The key is replaced while agents learn of it minutes apart. Nobody is lost, no agent
// sends with the new key before all accept it, and the old one is dropped in the end.
func TestKeyIsReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newCluster(t, 3).startAll(with("old"))
		whole(t, a, func() {
			for i, s := range a {
				for _, other := range a {
					if members.SendsWith(other.List, members.Key("new")) {
						t.Errorf("the new key is in use while %d agents have it", i)
					}
				}
				if err := s.SetKeys(ring("new")); err != nil {
					t.Fatal(err)
				}
				if i < 2 {
					time.Sleep(time.Minute)
				}
			}
			uses(t, a, "new", 5*time.Second)
			if n, lacking := a[0].KeysPending(); n != 2 || lacking != nil {
				t.Errorf("%d keys are accepted, and %v lack the new one", n, lacking)
			}
			time.Sleep(11 * time.Minute)
			for _, s := range a {
				if n, _ := s.KeysPending(); n != 1 {
					t.Errorf("%d keys are accepted in the end", n)
				}
			}
		})
	})
}

// While an agent lacks the new key, the others say which.
func TestKeyIsLacking(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var out logged
		a := newCluster(t, 3).startAll(with("old"), func(o *members.Options) { o.Logger = out.logger() })
		for _, s := range a[:2] {
			if err := s.SetKeys(ring("new")); err != nil {
				t.Fatal(err)
			}
		}
		whole(t, a, func() { time.Sleep(3 * time.Minute) })
		for _, s := range a[:2] {
			if n, lacking := s.KeysPending(); n != 2 || strings.Join(lacking, " ") != "n03" {
				t.Errorf("%d keys are accepted, and %v lack the new one", n, lacking)
			}
		}
		out.await(t, "the new key of gossip is not used yet")
	})
}

// An agent that starts in the middle has both keys from the Secret, and is heard whether
// the others have the new one yet or not. So is one that starts when all have it.
func TestAgentRestartsWhileKeyIsReplaced(t *testing.T) {
	for _, others := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(others), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := newCluster(t, 3)
				a := c.startAll(with("old"))
				for _, s := range a[:others] {
					if err := s.SetKeys(ring("new", "old")); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(10 * time.Second)
				end(t, a)
				a[2] = c.start(2, with("new", "old"))
				for _, s := range a {
					s.await("all", func(v members.View) bool { return len(v.Members) == 3 && !v.Stale })
				}
				whole(t, a, func() {
					for _, s := range a {
						if err := s.SetKeys(ring("new", "old")); err != nil {
							t.Fatal(err)
						}
					}
					uses(t, a, "new", 30*time.Second)
					for _, s := range a {
						if err := s.SetKeys(ring("new")); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(time.Minute)
				})
			})
		})
	}
}

// An agent that starts with the new key alone is heard if all others have it, in memory
// besides the old one.
func TestAgentStartsWithTheNewKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		a := c.startAll(with("old"))
		end(t, a)
		for _, s := range a[:2] {
			if err := s.SetKeys(ring("new")); err != nil {
				t.Fatal(err)
			}
		}
		a[2] = c.start(2, with("new"))
		for _, s := range a {
			s.await("all", func(v members.View) bool { return len(v.Members) == 3 && !v.Stale })
		}
		whole(t, a, func() { time.Sleep(30 * time.Second) })
	})
}

// An agent that is back with the old key alone has the others use it again.
func TestAgentReturnsWithTheOldKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		a := c.startAll(with("old"))
		end(t, a)
		for _, s := range a[:2] {
			if err := s.SetKeys(ring("new")); err != nil {
				t.Fatal(err)
			}
		}
		uses(t, a[:2], "new", 5*time.Second)
		a[2] = c.start(2, with("old"))
		for _, s := range a {
			s.await("all", func(v members.View) bool { return len(v.Members) == 3 && !v.Stale })
		}
		whole(t, a, func() {
			time.Sleep(time.Minute)
			if err := a[2].SetKeys(ring("new")); err != nil {
				t.Fatal(err)
			}
			uses(t, a, "new", 5*time.Second)
		})
	})
}

func TestSetKeysMisuse(t *testing.T) {
	for _, tt := range []struct {
		name       string
		start, set [][]byte
		want       string
	}{
		{"a key later", nil, ring("x"), "restart the agent to encrypt it"},
		{"no key later", ring("x"), nil, "restart the agent without one"},
		{"a short key", ring("x"), [][]byte{{1}}, "key of gossip: key size"},
		{"the same", ring("x"), ring("x"), ""},
		{"none", nil, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := members.New(members.Options{Node: "n1", Keys: tt.start}).SetKeys(tt.set)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
