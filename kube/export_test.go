// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"time"

	"github.com/heraldlb/herald/reconcile"
)

// ObjectOf returns the name and the status of the object about a Service.
func ObjectOf(s reconcile.ServiceStatus) (name, status string) {
	return objectName(serviceStatusKinds[s.Protocol], s.Node, s.Service), contentOf(statusOf(s))
}

// SetPatience sets how long a Secret that was not read yet holds up the document.
func (r *Resources) SetPatience(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passwords.patience = d
}
