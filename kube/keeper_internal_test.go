// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A store has objects that say something, and counts requests.
type store struct {
	mu      sync.Mutex // guards the fields below
	version int
	objects map[string]stored
	shown   map[string]stored // as a watch has shown them
	blind   bool              // the watch shows nothing
	mute    bool              // requests are carried out, and the answers lost
	refuse  func(name string) error
	keep    func(says string) string // what the server keeps of what is written; nil: all
	sent    []string                 // "NAME: SAYS at SECOND"
	began   time.Time
}

type stored struct {
	version string
	says    string
}

// put has an object say something; empty: it is deleted.
func (s *store) put(name, says string) stored {
	if says == "" {
		delete(s.objects, name)
	} else if s.objects[name].says != says {
		s.version++
		s.objects[name] = stored{strconv.Itoa(s.version), says}
	}
	if !s.blind {
		s.show()
	}
	return s.objects[name]
}

func (s *store) show() {
	s.shown = map[string]stored{}
	for name, o := range s.objects {
		s.shown[name] = o
	}
}

// write answers a request.
func (s *store) write(name, says string) (result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, fmt.Sprintf("%s: %s at %.2f", name, says, time.Since(s.began).Seconds()))
	if s.refuse != nil {
		if err := s.refuse(name); err != nil {
			return result{}, err
		}
	}
	if s.keep != nil {
		says = s.keep(says)
	}
	o := s.put(name, says)
	if s.mute {
		return result{}, context.DeadlineExceeded
	}
	return result{version: o.version, has: o.says}, nil
}

func TestKeeper(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "things"}, "a", errors.New("another version"))
	set := func(says ...string) map[string]string {
		out := map[string]string{}
		for _, s := range says {
			name, text, _ := strings.Cut(s, "=")
			out[name] = text
		}
		return out
	}
	tests := []struct {
		name  string
		every time.Duration
		play  func(s *store, k *keeper[string, string])
		want  []string
	}{
		{"what is wanted is written, in order, and once", time.Second, func(_ *store, k *keeper[string, string]) {
			k.Set(set("b=1", "a=1"))
			time.Sleep(50 * time.Second)
			k.Set(set("b=1", "a=1"))
			k.Wake()
		}, []string{"a: 1 at 0.00", "b: 1 at 0.01"}},
		{"changes in a second are one write", time.Second, func(_ *store, k *keeper[string, string]) {
			for i := range 130 {
				k.Set(set("a=" + strconv.Itoa(i+1)))
				time.Sleep(15 * time.Millisecond)
			}
		}, []string{"a: 1 at 0.00", "a: 67 at 1.00", "a: 130 at 2.00"}},
		{"or not", 0, func(_ *store, k *keeper[string, string]) {
			for i := range 3 {
				k.Set(set("a=" + strconv.Itoa(i+1)))
				time.Sleep(100 * time.Millisecond)
			}
		}, []string{"a: 1 at 0.00", "a: 2 at 0.10", "a: 3 at 0.20"}},
		{"what is not wanted any more goes", time.Second, func(_ *store, k *keeper[string, string]) {
			k.Set(set("a=1"))
			time.Sleep(50 * time.Second)
			k.Set(set())
		}, []string{"a: 1 at 0.00", "a:  at 50.00"}},
		{"a write that was not seen yet is not repeated", time.Second, func(s *store, k *keeper[string, string]) {
			s.mu.Lock()
			s.put("a", "0")
			s.blind = true
			s.mu.Unlock()
			k.Set(set("a=1"))
			time.Sleep(time.Hour)
		}, []string{"a: 1 at 0.00"}},
		{"a version that somebody else wrote is written onto", time.Second, func(s *store, k *keeper[string, string]) {
			k.Set(set("a=1"))
			time.Sleep(50 * time.Second)
			s.mu.Lock()
			s.put("a", "theirs")
			s.mu.Unlock()
			k.Wake()
		}, []string{"a: 1 at 0.00", "a: 1 at 50.00"}},
		{"a server that drops a field is asked once a change", time.Second, func(s *store, k *keeper[string, string]) {
			s.mu.Lock()
			s.keep = func(string) string { return "what it knows" }
			s.mu.Unlock()
			k.Set(set("a=1"))
			time.Sleep(50 * time.Second)
			k.Wake()
			time.Sleep(50 * time.Second)
			k.Set(set("a=2"))
			time.Sleep(50 * time.Second)
			k.Wake()
		}, []string{"a: 1 at 0.00", "a: 2 at 100.00"}},
		{"one that was created may take 5 s to be seen", time.Second, func(s *store, k *keeper[string, string]) {
			s.mu.Lock()
			s.blind = true
			s.mu.Unlock()
			k.Set(set("a=1"))
			time.Sleep(2 * time.Second)
			k.Wake()
			time.Sleep(2 * time.Second)
			s.mu.Lock()
			s.blind = false
			s.show()
			s.mu.Unlock()
			time.Sleep(time.Hour)
		}, []string{"a: 1 at 0.00"}},
		{"else it was deleted", time.Second, func(s *store, k *keeper[string, string]) {
			s.mu.Lock()
			s.blind = true
			s.mu.Unlock()
			k.Set(set("a=1"))
			time.Sleep(2 * time.Second)
			k.Wake()
			s.mu.Lock()
			s.put("a", "")
			s.mu.Unlock()
			time.Sleep(4 * time.Second)
		}, []string{"a: 1 at 0.00", "a: 1 at 5.00"}},
		{"one that was seen and is not there was deleted", time.Second, func(s *store, k *keeper[string, string]) {
			k.Set(set("a=1"))
			time.Sleep(1500 * time.Millisecond)
			k.Wake()
			time.Sleep(500 * time.Millisecond)
			s.mu.Lock()
			s.put("a", "")
			s.mu.Unlock()
			k.Wake()
		}, []string{"a: 1 at 0.00", "a: 1 at 2.50"}},
		{"a version that is not the newest any more is given up", time.Second, func(s *store, k *keeper[string, string]) {
			s.mu.Lock()
			s.put("a", "0")
			s.refuse = func(string) error { return conflict }
			s.mu.Unlock()
			k.Set(set("a=1"))
			time.Sleep(50 * time.Second)
			s.mu.Lock()
			s.refuse = nil
			s.put("a", "theirs")
			s.mu.Unlock()
			k.Wake()
		}, []string{"a: 1 at 0.00", "a: 1 at 50.00"}},
		{"what is refused is tried again, less and less often", 0, func(s *store, k *keeper[string, string]) {
			s.mu.Lock()
			s.refuse = func(name string) error {
				if name == "a" {
					return errors.New("no")
				}
				return nil
			}
			s.mu.Unlock()
			k.Set(set("a=1"))
			time.Sleep(time.Second)
		}, []string{"a: 1 at 0.00", "a: 1 at 0.05", "a: 1 at 0.15", "a: 1 at 0.35", "a: 1 at 0.75"}},
		{"also while others change", 0, func(s *store, k *keeper[string, string]) {
			s.mu.Lock()
			s.refuse = func(name string) error {
				if name == "a" {
					return errors.New("no")
				}
				return nil
			}
			s.mu.Unlock()
			k.Set(set("a=1"))
			time.Sleep(500 * time.Millisecond)
			k.Set(set("a=1", "b=1"))
		}, []string{"a: 1 at 0.00", "a: 1 at 0.05", "a: 1 at 0.15", "a: 1 at 0.35", "b: 1 at 0.50"}},
		{"and at once where something else is wanted", 0, func(s *store, k *keeper[string, string]) {
			s.mu.Lock()
			s.refuse = func(string) error { return errors.New("no") }
			s.mu.Unlock()
			k.Set(set("a=1"))
			time.Sleep(500 * time.Millisecond)
			k.Set(set("a=2"))
			time.Sleep(50 * time.Millisecond)
		}, []string{"a: 1 at 0.00", "a: 1 at 0.05", "a: 1 at 0.15", "a: 1 at 0.35", "a: 2 at 0.50"}},
		{"one that takes long to be refused takes a tenth of the time", time.Second, func(s *store, k *keeper[string, string]) {
			s.mu.Lock()
			s.refuse = func(string) error {
				s.mu.Unlock()
				time.Sleep(5 * time.Second)
				s.mu.Lock()
				return errors.New("no")
			}
			s.mu.Unlock()
			k.Set(set("a=1"))
			time.Sleep(100 * time.Second)
		}, []string{"a: 1 at 0.00", "a: 1 at 55.00"}},
		{"what was written without an answer is not taken for another's", time.Second, func(s *store, k *keeper[string, string]) {
			for i := range 12 {
				s.mu.Lock()
				s.mute = i%2 == 1
				s.mu.Unlock()
				k.Set(set("a=" + strconv.Itoa(i+1)))
				time.Sleep(4500 * time.Millisecond)
			}
		}, []string{
			"a: 1 at 0.00", "a: 2 at 4.50", "a: 3 at 9.00", "a: 4 at 13.50", "a: 5 at 18.00", "a: 6 at 22.50",
			"a: 7 at 27.00", "a: 8 at 31.50", "a: 9 at 36.00", "a: 10 at 40.50", "a: 11 at 45.00", "a: 12 at 49.50",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := slog.New(slog.NewTextHandler(t.Output(), nil))
				s := &store{objects: map[string]stored{}, shown: map[string]stored{}, began: time.Now()}
				k := newKeeper(keeperOptions[string, string]{
					Contests: NewContests(ContestsOptions{Logger: log}), Logger: log, Failed: "thing not written",
					Compare: strings.Compare, Every: tt.every,
					Diff: func(name string, want *string, _ time.Time) (*request, time.Duration) {
						s.mu.Lock()
						defer s.mu.Unlock()
						have := s.shown[name]
						says := ""
						if want != nil {
							says = *want
						}
						if says == have.says {
							return nil, 0
						}
						return &request{about: subject{name: name}, version: have.version, has: have.says, want: says,
							send: func(context.Context) (result, error) { return s.write(name, says) }}, 0
					},
				})
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- k.Run(ctx) }()
				synctest.Wait()
				tt.play(s, k)
				time.Sleep(tt.every + 100*time.Millisecond)
				synctest.Wait()
				if !slices.Equal(s.sent, tt.want) {
					t.Errorf("requests\n got %q\nwant %q", s.sent, tt.want)
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
				n := len(s.sent)
				k.Wake()
				time.Sleep(time.Minute)
				if len(s.sent) > n {
					t.Errorf("%q are sent after the end", s.sent[n:])
				}
			})
		})
	}
}

// Objects that the API server refuses hold up no other, however many there are, and
// each is logged once.
func TestKeeperRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 500
		var log strings.Builder
		logger := slog.New(slog.NewTextHandler(&log, nil))
		written := map[string]time.Duration{}
		began, refused := time.Now(), 0
		k := newKeeper(keeperOptions[string, string]{
			Contests: NewContests(ContestsOptions{Logger: logger}), Logger: logger, Failed: "thing not written",
			Compare: strings.Compare, Every: statusRound,
			Diff: func(name string, want *string, _ time.Time) (*request, time.Duration) {
				if _, ok := written[name]; ok || want == nil {
					return nil, 0
				}
				return &request{want: *want, send: func(context.Context) (result, error) {
					if strings.HasPrefix(name, "a") {
						refused++
						return result{}, apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, name, errors.New("by a policy"))
					}
					written[name] = time.Since(began)
					return result{version: "1"}, nil
				}}, 0
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		wanted := map[string]string{"z": "1"}
		for i := range many {
			wanted[fmt.Sprint("a", i)] = "1"
		}
		k.Set(wanted)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if at, ok := written["z"]; !ok || at > 10*time.Second {
			t.Errorf("the object behind %d refused ones is written after %v (%t)", many, at, ok)
		}
		// One that comes later is before those that were refused.
		later := time.Since(began)
		wanted = maps.Clone(wanted)
		wanted["y"] = "1"
		k.Set(wanted)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if at, ok := written["y"]; !ok || at-later > 10*time.Second {
			t.Errorf("a new object is written after %v (%t)", at-later, ok)
		}
		if n := strings.Count(log.String(), "thing not written"); n != many {
			t.Errorf("%d lines are logged about %d refused objects after %d attempts", n, many, refused)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A round that is urgent does not wait for the time between two rounds.
func TestKeeperHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var rounds []time.Duration
		k := newKeeper(keeperOptions[string, int]{
			Contests: NewContests(ContestsOptions{Logger: slog.New(slog.DiscardHandler)}), Logger: slog.New(slog.DiscardHandler), Compare: strings.Compare, Every: time.Second,
			Diff: func(string, *int, time.Time) (*request, time.Duration) {
				rounds = append(rounds, time.Since(start))
				return nil, 0
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		for i, hurries := range []bool{false, false, true} {
			k.Set(map[string]int{"a": i})
			if hurries {
				k.Hurry()
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if want := []time.Duration{0, 200 * time.Millisecond}; !slices.Equal(rounds, want) {
			t.Errorf("rounds at %v, want %v", rounds, want)
		}
	})
}
