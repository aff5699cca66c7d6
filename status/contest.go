// SPDX-License-Identifier: Apache-2.0

package status

import "time"

// A Contest is an object whose status this process writes and another writer keeps
// changing. The process writes less and less often until the other writer stops.
type Contest struct {
	Kind   string    `json:"kind"`
	Name   string    `json:"name"`             // with the namespace, if the kind is Kubernetes'
	Writer string    `json:"writer,omitempty"` // field manager of the other writer; empty: not known
	Undone int       `json:"undone"`           // how many writes in a row the other writer has undone
	Next   time.Time `json:"next"`             // when this process writes again
}
