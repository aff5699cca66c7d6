// SPDX-License-Identifier: Apache-2.0

package l2

import "fmt"

// A Drop is the reason why a received packet got no answer.
type Drop int

// The Drops. The zero value is no drop.
const (
	Answered     Drop = iota
	Malformed         // it breaks a rule of RFC 826 or of RFC 4861, Section 7.1
	NotRequest        // an ARP reply or a neighbor advertisement
	NotForUs          // the Ethernet destination is another host's
	FromSelf          // this interface sent it
	Gratuitous        // an announcement in the form of an ARP request, which needs no answer
	NotAnnounced      // the target is not announced on this interface
	Unclaimed         // the target is still being probed for, or is another host's
	Muted             // this agent does not know whether it is still the owner
	SendFailed        // the interface did not accept the answer
	drops             // their number
)

var dropNames = [drops]string{
	Answered:     "Answered",
	Malformed:    "Malformed",
	NotRequest:   "NotRequest",
	NotForUs:     "NotForUs",
	FromSelf:     "FromSelf",
	Gratuitous:   "Gratuitous",
	NotAnnounced: "NotAnnounced",
	Unclaimed:    "Unclaimed",
	Muted:        "Muted",
	SendFailed:   "SendFailed",
}

// String returns the name of the constant.
func (d Drop) String() string {
	if d < 0 || d >= drops {
		return fmt.Sprintf("Drop(%d)", int(d))
	}
	return dropNames[d]
}

// MarshalText returns the same as String.
func (d Drop) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
