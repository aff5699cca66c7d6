// SPDX-License-Identifier: Apache-2.0

package status

import "time"

// A Drain is the progress of a node that drains.
type Drain struct {
	Wish  string    `json:"wish,omitempty"`  // the value of the Node's annotation
	Until time.Time `json:"until,omitzero"`  // when routes are withdrawn, by the node's clock; zero: the hold has not begun, or ended long ago
	Over  bool      `json:"over"`            // the hold is over
	Error string    `json:"error,omitempty"` // why the annotation is not valid: the node does not drain
}
