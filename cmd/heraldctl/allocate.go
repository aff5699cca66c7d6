// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
)

// An allocateJob is what heraldctl allocate was asked for.
type allocateJob struct {
	source
	services []string // files and folders; none: the cluster's
	format   format
	assign   assign.Options
}

func allocateCommand() *cobra.Command {
	job := allocateJob{format: asTable}
	cmd := &cobra.Command{
		Use:   "allocate {-f CONFIG...|--cluster} {--services FILE|--cluster}",
		Short: "Say which Service would get which address",
		Long: `Allocate tries a configuration on Services, without a cluster, and says which
addresses the controller would give them: it runs the same code.

Services are taken in the order of the file, those that have a status first:
they keep what it says. Namespaces in the file tell the labels that pools select
by. A Service without cluster IPs, as people write it, is taken to get those that
spec.ipFamilies and spec.ipFamilyPolicy call for, an IPv4 one where there is
neither.

` + configurationHelp + `

With --cluster, what -f or --services does not name is that of the cluster.

As JSON it is a list with service, addresses, pool, reason and message of each
Service of type LoadBalancer, in the order of the file.

Exit status: 0 if it was printed, whoever got an address; 1 if the configuration
or an object has a mistake, 2 if one cannot be read.`,
		Example: `  heraldctl allocate -f config.yaml --services services.yaml
  kubectl get services,namespaces -A -o yaml | heraldctl allocate -f config.yaml --services - -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			job.files = append(job.files, args...)
			return job.run(cmd)
		},
	}
	job.addFlags(cmd, "configuration")
	flags := cmd.Flags()
	flags.StringArrayVar(&job.services, "services", nil, "manifests of Services and Namespaces, and of Nodes, if there are any: `file` or folder; - is standard input; may be repeated")
	flags.BoolVar(&job.cluster, "cluster", false, "take from the cluster what is not named")
	kubeconfigFlag(cmd, &job.kubeconfig)
	flags.VarP(&job.format, "output", "o", "json or table")
	flags.StringVar(&job.assign.Class, "lb-class", "", "as the controller's flag: spec.loadBalancerClass of the Services to handle")
	return cmd
}

func (j allocateJob) run(cmd *cobra.Command) error {
	if err := j.named(len(j.services), "services"); err != nil {
		return err
	}
	if onStdin(append(j.files, j.services...)...) > 1 {
		return errors.New("the configuration and the Services cannot both be on standard input")
	}
	cfg, err := j.config(cmd)
	if err != nil {
		return err
	}
	s, err := j.objects(cmd, j.services, true, kube.Read)
	if err != nil {
		return err
	}
	warnOverlaps(cmd, together(j.services), cfg, s)
	results := assign.NewPreview(s, j.assign).Apply(cfg)
	if j.format == asJSON {
		list := []allocation{}
		for _, o := range results {
			list = append(list, allocation{o.Service.String(), addressList(o.Addrs), o.Pool, string(o.Reason), o.Message})
		}
		return writeJSON(cmd.OutOrStdout(), list)
	}
	tab := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "SERVICE\tADDRESSES\tPOOL\tREASON\n")
	for _, o := range results {
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s: %s\n", o.Service, listed(o.Addrs), orNone(o.Pool), o.Reason, o.Message)
	}
	return tab.Flush()
}

// An allocation is an item of the JSON list.
type allocation struct {
	Service   string       `json:"service"`
	Addresses []netip.Addr `json:"addresses"` // never null
	Pool      string       `json:"pool"`
	Reason    string       `json:"reason"`
	Message   string       `json:"message"`
}

// warnOverlaps prints which pools have addresses that the cluster itself uses, as
// far as the objects of a file tell.
func warnOverlaps(cmd *cobra.Command, name string, cfg *config.Config, s cluster.Snapshot) {
	for _, text := range reconcile.Overlaps(cfg, s.Nodes, s.Services) {
		cmd.PrintErrf("%s: warning: %s\n", name, text)
	}
}

// A format is how something is printed. It is a pflag.Value.
type format string

const (
	asTable format = "table"
	asJSON  format = "json"
)

// String returns f.
func (f *format) String() string { return string(*f) }

// Type names what the flag takes.
func (f *format) Type() string { return "format" }

// Set takes table or json.
func (f *format) Set(s string) error {
	if s != string(asTable) && s != string(asJSON) {
		return errors.New("want json or table")
	}
	*f = format(s)
	return nil
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// addressList returns addrs, an empty list if there are none.
func addressList(addrs []netip.Addr) []netip.Addr {
	if addrs == nil {
		return []netip.Addr{}
	}
	return addrs
}

// listed returns addresses as a cell of a table.
func listed(addrs []netip.Addr) string {
	var words []string
	for _, a := range addrs {
		words = append(words, a.String())
	}
	return orNone(strings.Join(words, ","))
}

// orNone returns s, or what stands for nothing in a table.
func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
