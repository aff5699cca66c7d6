// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
)

// An allocateJob has the flags of heraldctl allocate.
type allocateJob struct {
	source
	services []string // files and folders; none: the cluster's
	output   output
	assign   assign.Options
}

func allocateCommand(from *connection) *cobra.Command {
	var job allocateJob
	cmd := &cobra.Command{
		Use:   "allocate {-f CONFIG...|--cluster} {--services FILE|--cluster}",
		Short: "Show which address each Service would get",
		Long: `Allocate tries a configuration on Services without a cluster, and shows which addresses
the controller would assign. It runs the controller's own code.

Services with a status come first and keep the addresses in it. The others follow in
the order of the file. Namespaces in the file provide the labels that pools select by.
A Service without cluster IPs gets those that spec.ipFamilies and spec.ipFamilyPolicy
ask for, or an IPv4 one if both fields are missing.

` + configurationHelp + `

With --cluster, a configuration or Services that are not named are read from the
cluster.

As JSON or YAML it is a list with service, addresses, pool, reason and message of each Service
of type LoadBalancer, in the order of the file.

Exit status: 0 if the result was printed, even if Services got no address; 1 if the
configuration or an object has a mistake; 2 if one cannot be read.`,
		Example: `  heraldctl allocate -f config.yaml --services services.yaml
  kubectl get services,namespaces -A -o yaml | heraldctl allocate -f config.yaml --services - -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			job.files = append(job.files, args...)
			return job.run(cmd)
		},
	}
	job.addFlags(cmd, from, "configuration")
	job.output.addFlags(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&job.services, "services", nil, "manifests of Services and Namespaces, optionally of Nodes: `file` or folder; - is standard input; may be repeated")
	from.addClusterFlag(cmd, &job.cluster, "read the configuration or Services that are not named from the cluster")
	flags.StringVar(&job.assign.Class, "lb-class", "", "spec.loadBalancerClass of the Services to handle, like the controller's flag")
	return cmd
}

func (j allocateJob) run(cmd *cobra.Command) error {
	if err := j.complete(len(j.services), "services"); err != nil {
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
	preview := assign.NewPreview(s, j.assign)
	results := preview.Apply(cfg)
	warnShared(cmd, together(j.services), preview.SharedAcross(cfg))
	list := []allocation{}
	for _, o := range results {
		list = append(list, allocation{o.Service.String(), addressList(o.Addrs), o.Pool, string(o.Reason), o.Message})
	}
	return j.output.write(cmd.OutOrStdout(), list, func(t table, _ bool) {
		j.output.header(t, "SERVICE", "ADDRESSES", "POOL", "REASON")
		for _, a := range list {
			t.row(a.Service, listed(a.Addresses), orNone(a.Pool), a.Reason+": "+a.Message)
		}
	})
}

// An allocation is an item of the JSON list.
type allocation struct {
	Service   string       `json:"service"`
	Addresses []netip.Addr `json:"addresses"` // never null
	Pool      string       `json:"pool"`
	Reason    string       `json:"reason"`
	Message   string       `json:"message"`
}

// warnOverlaps prints which pools have addresses that the cluster itself uses,
// according to the objects of a file.
func warnOverlaps(cmd *cobra.Command, name string, cfg *config.Config, s cluster.Snapshot) {
	for _, text := range reconcile.Overlaps(cfg, s.Nodes, s.Services) {
		cmd.PrintErrf("%s: warning: %s\n", name, text)
	}
}

// warnShared prints which addresses Services of several namespaces share.
func warnShared(cmd *cobra.Command, name string, shared []string) {
	for _, text := range shared {
		cmd.PrintErrf("%s: warning: %s\n", name, text)
	}
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

// orNone returns s, or a dash if s is empty.
func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
