// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// TestQueue plays: +a adds, > and ) take the next urgent or later object, -a is done with it.
// Objects in capitals are urgent.
func TestQueue(t *testing.T) {
	tests := []struct {
		name string
		play []string
		want []string
	}{
		{"in order, each once", []string{"+A", "+B", "+A", ">", ">", ">"}, []string{"A", "B", ""}},
		{"what is urgent overtakes", []string{"+a", "+B", ")", ">", ")"}, []string{"", "B", "a"}},
		{"an urgent worker takes nothing else", []string{"+a", ">", ")"}, []string{"", "a"}},
		{"one that a worker has waits until it is done", []string{"+A", ">", "+A", ">", "-A", ">"}, []string{"A", "", "A"}},
		{"and is not looked at again without cause", []string{"+A", ">", "-A", ">"}, []string{"A", ""}},
		{"one that becomes urgent moves", []string{"+a", "+b", "!b", "+b", ">", ")", ")"}, []string{"b", "a", ""}},
		{"one that is urgent no more keeps its turn", []string{"!a", "+a", "!a", "+a", ")", ">", ")"}, []string{"", "a", ""}},
		{"one that moved and comes again waits once", []string{"+a", "!a", "+a", ">", "-a", "!a", "+a", ")", ")"}, []string{"a", "a", ""}},
		{"it moves while a worker has it", []string{"+a", ")", "+a", "!a", "+a", "-a", ")", ">"}, []string{"a", "", "a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				turned := map[string]bool{}
				q := newQueue(func(key string) bool { return (key >= "a") != turned[key] })
				var got []string
				for _, step := range tt.play {
					switch key := step[1:]; step[0] {
					case '+':
						q.Add(key)
					case '-':
						q.Done(key)
					case '!':
						turned[key] = !turned[key]
					default:
						from := urgent
						if step == ")" {
							from = later
						}
						taken := ""
						done := make(chan struct{})
						go func() {
							defer close(done)
							taken, _ = q.Get(from)
						}()
						synctest.Wait()
						select {
						case <-done:
							got = append(got, taken)
						default: // nothing is there for it
							got = append(got, "")
							q.End() // for this worker alone
							<-done
							q.ended = false
						}
					}
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// BenchmarkQueue adds objects again that wait already, and are urgent now.
func BenchmarkQueue(b *testing.B) {
	for _, many := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				isLater := true
				q := newQueue(func(int) bool { return isLater })
				for i := range many {
					q.Add(i)
				}
				isLater = false
				b.StartTimer()
				for i := many - 1; i >= 0; i-- {
					q.Add(i)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(many), "ns/object")
		})
	}
}
