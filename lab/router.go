// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"text/template"
	"time"
)

// RouterOptions says how r1 is set up. The zero value is an eBGP router of AS
// 64513 without password or BFD.
type RouterOptions struct {
	ASN      uint32        // optional: 0 means 64513
	Password string        // optional: of its sessions (TCP MD5, RFC 2385)
	BFD      bool          // optional: watch the nodes with BFD
	BFDTimer time.Duration // optional: BFD's transmit and receive interval; 0 means 100 ms, three lost packets are a failure
	HoldTime time.Duration // optional: 0 means 9 seconds, with a third of it between keepalives
}

//go:embed router.conf.tmpl
var routerText string

// routerTemplate is r1's frr.conf.
var routerTemplate = template.Must(template.New("router.conf").Parse(routerText))

// routerConfig renders r1's frr.conf.
func (t *Topology) routerConfig() ([]byte, error) {
	o := t.opts.Router
	hold := cmp.Or(o.HoldTime, 9*time.Second)
	data := struct {
		RouterOptions
		NodeASN         uint32
		Nodes           []*Node // whom to watch: FRR 10 has a session wait for BFD, which must begin on both sides
		ID              string
		Keepalive, Hold int // seconds
		BFDMillis       int64
	}{
		RouterOptions: o,
		NodeASN:       t.opts.NodeASN,
		Nodes:         t.Nodes,
		ID:            t.Router.Addr4.String(),
		Keepalive:     int(hold.Seconds() / 3),
		Hold:          int(hold.Seconds()),
		BFDMillis:     cmp.Or(o.BFDTimer, 100*time.Millisecond).Milliseconds(),
	}
	data.ASN = cmp.Or(o.ASN, 64513)
	var b bytes.Buffer
	if err := routerTemplate.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("render r1's frr.conf: %w", err)
	}
	return b.Bytes(), nil
}
