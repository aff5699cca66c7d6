// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// While writes that routes do not wait for leave a slow API server alone, an urgent one is
// sent at once.
func TestKeeperUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 100
		log := slog.New(slog.NewTextHandler(t.Output(), nil))
		began := time.Now()
		sent := make(chan string, many+1)
		k := newKeeper(keeperOptions[string, string]{
			Contests: NewContests(ContestsOptions{Logger: log}), Logger: log, Compare: strings.Compare,
			Workers: 16, Later: func(w string) bool { return w != "urgent" },
			Diff: func(name string, want *string, _ time.Time) (*request, time.Duration) {
				if want == nil {
					return nil, 0
				}
				return &request{version: "1", want: *want, send: func(context.Context) (result, error) {
					sent <- fmt.Sprintf("%s at %v", name, time.Since(began))
					time.Sleep(300 * time.Millisecond) // the API server is busy
					return result{version: "2"}, nil
				}}, 0
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		wanted := map[string]string{}
		for i := range many {
			wanted[fmt.Sprintf("a%03d", i)] = "a condition"
		}
		k.Set(wanted)
		time.Sleep(500 * time.Millisecond) // all that wrote pause
		synctest.Wait()
		before := len(sent)
		if before == 0 || before > easyWriters {
			t.Errorf("%d writes that are not urgent at a time", before)
		}
		for range before {
			<-sent
		}
		k.Change(map[string]*string{"z": new("urgent")})
		synctest.Wait()
		if len(sent) != 1 {
			t.Fatalf("%d requests are sent", len(sent))
		}
		if got, want := <-sent, "z at 500ms"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(sent) != many-before {
			t.Errorf("%d others are written in the end, want %d", len(sent), many-before)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// What a restore of etcd has undone is written again at once, though no watch shows that it
// is gone.
func TestKeeperRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.NewTextHandler(t.Output(), nil))
		c := &Client{}
		began := time.Now()
		var sent []time.Duration
		k := newKeeper(keeperOptions[string, string]{
			Client: c, Contests: NewContests(ContestsOptions{Logger: log}), Logger: log, Compare: strings.Compare,
			Diff: func(_ string, want *string, _ time.Time) (*request, time.Duration) {
				if want == nil {
					return nil, 0
				}
				// The watch has not come to what was written.
				return &request{version: "1", want: *want, send: func(context.Context) (result, error) {
					sent = append(sent, time.Since(began))
					return result{version: "3"}, nil
				}}, 0
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		k.Set(map[string]string{"a": "1"})
		for range 2 {
			time.Sleep(7 * time.Second)
			c.restored.add()
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if want := []time.Duration{0, 7 * time.Second, 14 * time.Second}; fmt.Sprint(sent) != fmt.Sprint(want) {
			t.Errorf("written at %v, want %v", sent, want)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
