// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/contract"
)

// emptyConf is what FRR starts from until an agent writes its configuration.
const emptyConf = "! An agent writes its configuration here.\n"

// FindDaemons returns the daemons that Herald may need, in the order of their start.
// From FRR 10 on, mgmtd holds the configuration of some others.
func FindDaemons(dir string) ([]string, error) {
	daemons := []string{conf.Zebra, conf.Staticd, conf.BFDD, conf.BGPD}
	for _, d := range daemons {
		if _, err := os.Stat(filepath.Join(dir, d)); err != nil {
			return nil, fmt.Errorf("find FRR: %w", err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "mgmtd")); err == nil {
		daemons = slices.Insert(daemons, 0, "mgmtd")
	}
	return daemons, nil
}

// Prepare writes into FRR's folder what the daemons and FRR's own tools need, and
// whether herald-frr serves metrics. Files of the agent stay as they are. From then on
// the folder's group, which the daemons are in, reads there and writes nothing.
func Prepare(dir string, daemons []string, metrics bool) error {
	err := errors.Join(
		protect(dir),
		contract.ReplaceFile(filepath.Join(dir, "vtysh.conf"), []byte(contract.VtyshConf)),
		contract.ReplaceFile(filepath.Join(dir, "daemons"), []byte(daemonsFile(daemons))),
		contract.CreateFile(filepath.Join(dir, contract.ConfFile), []byte(emptyConf)),
		contract.WriteMetrics(dir, metrics),
	)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", dir, err)
	}
	return nil
}

// protect leaves a folder to its owner, for whom the agent and herald-frr run. A folder
// of another user stays as it is.
func protect(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	mode := info.Mode() &^ 0o027
	if mode == info.Mode() {
		return nil
	}
	if err := os.Chmod(dir, mode); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// daemonsFile returns the text that names the daemons for FRR's support tools.
func daemonsFile(daemons []string) string {
	var b strings.Builder
	b.WriteString("# herald-frr starts the daemons; this says which may run, for FRR's tools.\n")
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
