// SPDX-License-Identifier: Apache-2.0

package lease_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Lease that is restored names a process that led then, or nobody. Nobody leads while
// another process does, and the leader goes on if it reaches the API server.
func TestRestoredLease(t *testing.T) {
	const ever = 5 * time.Minute
	for _, tt := range []struct {
		name   string
		holder string // of the restored Lease, in place of process 1
		cutOff bool   // the leader does not reach the API server from the restore on
	}{
		{"it names a process that follows now", "1", false},
		{"and the leader is cut off", "1", true},
		{"it names nobody", "", false},
		{"and the leader is cut off", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var late [2]atomic.Int64 // how late answers to the processes are
				var e slowElection
				stop := e.run(t, func(process int) (effect, answer time.Duration) {
					d := time.Duration(late[process].Load())
					return d, 0
				}, 2)
				alone := func(process int) {
					late[1-process].Store(int64(ever))
					time.Sleep(30 * time.Second)
					late[1-process].Store(0)
					time.Sleep(15 * time.Second)
				}
				alone(1)
				leases := e.leases.Leases("metallb-system")
				backup, err := leases.Get(t.Context(), "herald-controller", metav1.GetOptions{})
				if err != nil || *backup.Spec.HolderIdentity != "1" {
					t.Fatalf("the Lease is %+v, %v", backup, err)
				}
				alone(0)
				if e.leaders.Load() != 1 {
					t.Fatalf("%d lead before the restore", e.leaders.Load())
				}
				backup.Spec.HolderIdentity = &tt.holder
				if tt.holder == "" {
					*backup.Spec.LeaseDurationSeconds = 1
				}
				terms := e.terms.Load()
				if tt.cutOff {
					late[0].Store(int64(ever))
				}
				if _, err := leases.Update(t.Context(), backup, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(70 * time.Second)
				if e.leaders.Load() != 1 || e.most.Load() > 1 {
					t.Errorf("%d lead after the restore, %d at a time", e.leaders.Load(), e.most.Load())
				}
				if now := e.terms.Load(); !tt.cutOff && now != terms {
					t.Errorf("the leader's term ended: %d terms after %d", now, terms)
				}
				late[0].Store(0)
				stop()
			})
		})
	}
}
