// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/heraldlb/herald/frr/contract"
)

// vtyshConf makes vtysh read the one frr.conf rather than a file a daemon.
const vtyshConf = "service integrated-vtysh-config\n"

// emptyConf is what FRR starts from before an agent was ever there.
const emptyConf = "! An agent writes its configuration here.\n"

// prepare makes FRR's folder what the daemons and FRR's own tools need, and tells
// the agent whether it serves metrics. What the agent or an earlier start has left
// stays.
func prepare(dir string, daemons []string, metrics bool) error {
	err := errors.Join(
		contract.ReplaceFile(filepath.Join(dir, "vtysh.conf"), []byte(vtyshConf)),
		contract.ReplaceFile(filepath.Join(dir, "daemons"), []byte(daemonsFile(daemons))),
		contract.CreateFile(filepath.Join(dir, contract.ConfFile), []byte(emptyConf)),
		contract.WriteMetrics(dir, metrics),
	)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", dir, err)
	}
	return nil
}

// daemonsFile says which daemons run, for FRR's support tools.
func daemonsFile(daemons []string) string {
	var b strings.Builder
	b.WriteString("# herald-frr starts the daemons; this says which, for FRR's tools.\n")
	for _, d := range []string{"bgpd", "bfdd", "mgmtd", "staticd", "zebra"} {
		run := "no"
		if slices.Contains(daemons, d) {
			run = "yes"
		}
		fmt.Fprintf(&b, "%s=%s\n", d, run)
	}
	b.WriteString("vtysh_enable=yes\n")
	return b.String()
}
