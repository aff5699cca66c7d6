// SPDX-License-Identifier: Apache-2.0

package wake_test

import (
	"testing"
	"time"

	"github.com/heraldlb/herald/wake"
)

func TestSignal(t *testing.T) {
	s := wake.New()
	isSet := func() bool {
		select {
		case <-s:
			return true
		default:
			return false
		}
	}
	if isSet() {
		t.Error("a new signal is set")
	}
	s.Set()
	s.Set() // does not block
	if !isSet() {
		t.Error("a signal that was set twice is not set")
	}
	if isSet() {
		t.Error("a signal that was set twice wakes twice")
	}
	s.Set()
	if !isSet() {
		t.Error("a signal cannot be set again")
	}
}

func TestEarlier(t *testing.T) {
	var never time.Time
	early := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	late := early.Add(time.Second)
	tests := []struct {
		name       string
		a, b, want time.Time
	}{
		{"the first is earlier", early, late, early},
		{"the second is earlier", late, early, early},
		{"both are the same", early, early, early},
		{"the first is never", never, late, late},
		{"the second is never", late, never, late},
		{"both are never", never, never, never},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := wake.Earlier(tt.a, tt.b); !got.Equal(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
