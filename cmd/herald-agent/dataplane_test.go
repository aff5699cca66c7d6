// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestDataPlaneFlags(t *testing.T) {
	tests := []struct {
		gate, healthz string
		asked         bool
		err           string
	}{
		{"auto", "127.0.0.1:10256", true, ""},
		{"all", "[::1]:10256", true, ""},
		{"off", "", false, ""},
		{"on", "127.0.0.1:10256", false, `--dataplane-gate "on": want auto, all or off`},
		{"auto", "10256", false, `--dataplane-healthz "10256": want an address and a port, such as 127.0.0.1:10256`},
		{"auto", "127.0.0.1:0", false, `--dataplane-healthz "127.0.0.1:0": want an address and a port, such as 127.0.0.1:10256`},
	}
	for _, tt := range tests {
		o := options{gateMode: tt.gate, healthz: tt.healthz}
		opts, asked, err := o.dataPlane()
		if asked != tt.asked || err == nil != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s %s: asked %t, error %v", tt.gate, tt.healthz, asked, err)
		}
		if asked && opts.Healthz.String() != tt.healthz {
			t.Errorf("%s: asks at %s", tt.healthz, opts.Healthz)
		}
	}
}
