// SPDX-License-Identifier: Apache-2.0

package status

import "time"

// A Drain says how far a node has come that is asked to announce nothing.
type Drain struct {
	Wish  string    `json:"wish,omitempty"`  // what the Node's annotation says
	Until time.Time `json:"until,omitzero"`  // when routes are withdrawn, by the node's clock; zero: routers are not asked for other paths yet, or it was long ago
	Over  bool      `json:"over"`            // that time has come
	Error string    `json:"error,omitempty"` // why the annotation means nothing: the node does not drain
}
