// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"strconv"

	"github.com/heraldlb/herald/status"
)

// resetSent is bgpd's code for a session that bgpd ended with a NOTIFICATION. FRR's
// words for the codes differ between versions, the codes do not.
const resetSent = 14

// obstacles has the codes for the end of a session that say more than its
// NOTIFICATION.
var obstacles = map[int]status.Obstacle{
	24: status.ObstacleBFD,
	27: status.ObstacleRoute,
	28: status.ObstacleRouter,
	33: status.ObstaclePrefix,
}

// notification reads the code and subcode of the last NOTIFICATION, four hexadecimal
// digits.
func (n rawNeighbor) notification() status.Notification {
	code, err := strconv.ParseUint(n.ErrorCode, 16, 16)
	if err != nil {
		return status.Notification{} // there was none
	}
	return status.Notification{Code: uint8(code >> 8), Subcode: uint8(code), Sent: n.ResetCode == resetSent}
}
