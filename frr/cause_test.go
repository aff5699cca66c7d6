// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"fmt"
	"testing"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/status"
)

// The reason why a session is down comes from bgpd's codes, not from its words. The
// texts are from bgpd 8.4.4 and 10.3, shortened.
func TestSessionCause(t *testing.T) {
	tests := []struct {
		name         string
		text         string
		notification status.Notification
		obstacle     status.Obstacle
		messages     [3]int
	}{
		{"Bad Peer AS sent", `"lastResetDueTo":"BGP Notification send","lastResetCode":14,"lastErrorCodeSubcode":"0202","lastNotificationReason":"OPEN Message Error/Bad Peer AS",
			"messageStats":{"opensSent":5,"opensRecv":4,"notificationsSent":4,"notificationsRecv":1}`,
			status.Notification{Code: 2, Subcode: 2, Sent: true}, status.Unobstructed, [3]int{5, 4, 5}},
		{"collision received", `"lastResetDueTo":"BGP Notification received","lastResetCode":13,"lastErrorCodeSubcode":"0607"`,
			status.Notification{Code: 6, Subcode: 7}, status.Unobstructed, [3]int{}},
		{"BFD down in a NOTIFICATION", `"lastResetCode":13,"lastErrorCodeSubcode":"060A"`, status.Notification{Code: 6, Subcode: 10}, status.Unobstructed, [3]int{}},
		{"no route in 8.4.4", `"lastResetDueTo":"Waiting for NHT","lastResetCode":27`, status.Notification{}, status.ObstacleRoute, [3]int{}},
		{"no route in 10.3", `"lastResetDueTo":"No path to specified Neighbor","lastResetCode":27`, status.Notification{}, status.ObstacleRoute, [3]int{}},
		{"waiting for OPEN", `"lastResetDueTo":"Waiting for peer OPEN","lastResetCode":32`, status.Notification{}, status.Unobstructed, [3]int{}},
		{"BFD", `"lastResetDueTo":"BFD down received","lastResetCode":24`, status.Notification{}, status.ObstacleBFD, [3]int{}},
		{"nothing yet", `"x":1`, status.Notification{}, status.Unobstructed, [3]int{}},
	}
	for _, tt := range tests {
		all, err := frr.DecodeSessions([]byte(fmt.Sprintf(`{"default":{"10.0.0.1":{"bgpState":"Idle",%s}}}`, tt.text)))
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %v, %d sessions", tt.name, err, len(all))
		}
		s := all[0]
		if s.Notification != tt.notification || s.Obstacle != tt.obstacle || [3]int{s.OpensSent, s.OpensReceived, s.Notifications} != tt.messages {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
}
