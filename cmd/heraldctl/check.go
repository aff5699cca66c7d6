// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/config"
)

func checkCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "check -f FILE...",
		Short: "Say whether a configuration is valid, and what is in it",
		Long: `Check reads configurations, each a ConfigMap of MetalLB, the document in one, or
MetalLB's custom resources with the Secrets that they refer to, and says what is
in them. Of one with mistakes it prints every mistake as FILE:LINE: PATH: REASON,
or for resources as FILE: KIND/NAME: REASON: MESSAGE.

Exit status: 0 if all are valid, 1 if one has mistakes, 2 if one cannot be read.`,
		Example: `  heraldctl check -f config.yaml
  kubectl get configmap -n metallb-system config -o yaml | heraldctl check -f -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var errs []error
			for _, name := range append(files, args...) {
				cfg, err := loadConfig(cmd, name)
				if err == nil {
					err = writeSummary(cmd.OutOrStdout(), name, cfg)
				}
				errs = append(errs, err)
			}
			return worst(errs)
		},
	}
	// After -f, further arguments are files too, so that -f *.yaml works.
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "file to check; - is standard input")
	if err := cmd.MarkFlagRequired("filename"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

// worst returns all errors that are more than invalid configurations, else
// errInvalid if there is one.
func worst(errs []error) error {
	invalid := slices.Contains(errs, errInvalid)
	others := slices.DeleteFunc(errs, func(err error) bool { return err == errInvalid })
	if err := errors.Join(others...); err != nil || !invalid {
		return err
	}
	return errInvalid
}

// writeSummary says what is in a configuration.
func writeSummary(w io.Writer, name string, cfg *config.Config) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "%s: valid, with %s, %s and %s\n", name, count(len(cfg.Pools), "pool"), count(len(cfg.Peers), "peer"),
		count(len(cfg.BGPAdvertisements)+len(cfg.L2Advertisements), "advertisement"))
	for _, p := range cfg.Pools {
		fmt.Fprintf(tab, "  pool\t%s\t%s\t%s\n", p.Name, addresses(p), strings.Join(poolNotes(p), ", "))
	}
	for _, p := range cfg.Peers {
		where := p.Interface
		if where == "" {
			where = p.Address.String()
		}
		fmt.Fprintf(tab, "  peer\t%s\t%s\t%s\n", p.Name, where, strings.Join(peerNotes(p), ", "))
	}
	for _, a := range cfg.BGPAdvertisements {
		fmt.Fprintf(tab, "  bgp\t%s\t%s\t%s\n", a.Name, scope(a.Pools, a.PoolSelectors), strings.Join(advertisementNotes(a), ", "))
	}
	for _, a := range cfg.L2Advertisements {
		fmt.Fprintf(tab, "  layer2\t%s\t%s\n", a.Name, scope(a.Pools, a.PoolSelectors))
	}
	for _, warning := range cfg.Warnings() {
		fmt.Fprintf(tab, "  warning: %s\n", warning)
	}
	return tab.Flush()
}

// scope says which pools an advertisement is about.
func scope(pools []string, selectors []config.Selector) string {
	parts := slices.Clone(pools)
	for _, s := range selectors {
		parts = append(parts, "{"+s.String()+"}")
	}
	if len(parts) == 0 {
		return "every pool"
	}
	return strings.Join(parts, ", ")
}

// addresses says how many addresses a pool has of each family.
func addresses(p config.Pool) string {
	v4, v6 := new(big.Int), new(big.Int)
	for _, r := range p.Addresses {
		if r.First.Is4() {
			v4.Add(v4, r.Size())
		} else {
			v6.Add(v6, r.Size())
		}
	}
	var parts []string
	if v4.Sign() > 0 {
		parts = append(parts, v4.String()+" IPv4")
	}
	if v6.Sign() > 0 {
		parts = append(parts, v6.String()+" IPv6")
	}
	return strings.Join(parts, ", ")
}

func poolNotes(p config.Pool) []string {
	var notes []string
	for _, r := range p.Addresses {
		notes = append(notes, r.String())
	}
	if p.AvoidBuggyIPs {
		notes = append(notes, "without .0 and .255")
	}
	if !p.AutoAssign {
		notes = append(notes, "on request alone")
	}
	if n := len(p.Reservations); n > 0 {
		notes = append(notes, count(n, "reservation"))
	}
	if p.Quota != nil {
		notes = append(notes, "with a quota")
	}
	return notes
}

func peerNotes(p config.Peer) []string {
	theirs := cmp.Or(string(p.DynamicASN), strconv.FormatUint(uint64(p.PeerASN), 10))
	notes := []string{fmt.Sprintf("AS %s from AS %d", theirs, cmp.Or(p.LocalASN, p.MyASN))}
	if p.VRF != "" {
		notes = append(notes, "in VRF "+p.VRF)
	}
	if p.DualStack {
		notes = append(notes, "routes of both families")
	}
	if p.GracefulRestart {
		notes = append(notes, "graceful restart")
	}
	if p.BFDProfile != "" {
		notes = append(notes, "BFD profile "+p.BFDProfile)
	}
	if !p.Password.IsZero() {
		notes = append(notes, "with a password")
	}
	if n := len(p.NodeSelectors); n > 0 {
		notes = append(notes, "on nodes of "+count(n, "selector"))
	}
	return notes
}

func advertisementNotes(a config.BGPAdvertisement) []string {
	notes := []string{fmt.Sprintf("routes of /%d and /%d", a.AggregationLength, a.AggregationLengthV6)}
	switch {
	case a.LocalPrefV6 != nil:
		notes = append(notes, fmt.Sprintf("localpref %d, %d for IPv6", a.LocalPref, *a.LocalPrefV6))
	case a.LocalPref != 0:
		notes = append(notes, fmt.Sprintf("localpref %d", a.LocalPref))
	}
	if a.MED != nil {
		notes = append(notes, fmt.Sprintf("MED %d", *a.MED))
	}
	if a.Prepend > 0 {
		notes = append(notes, "our AS number prepended "+count(a.Prepend, "time"))
	}
	if a.GracefulShutdown {
		notes = append(notes, "graceful shutdown")
	}
	for _, c := range a.Communities {
		notes = append(notes, c.String())
	}
	return notes
}

// count returns "1 pool" or "2 pools".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
