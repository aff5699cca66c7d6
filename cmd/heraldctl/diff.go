// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube"
)

// A diffJob has the flags of heraldctl diff.
type diffJob struct {
	source
	services []string // files and folders; none: those of the cluster
	from     []string // files and folders; none: the Services' statuses
	fromNow  bool     // start from the cluster's configuration instead
	output   output
	assign   assign.Options
}

func diffCommand(of *connection) *cobra.Command {
	var job diffJob
	cmd := &cobra.Command{
		Use:   "diff -f NEW... [--services FILE] [--from OLD|--cluster]",
		Short: "Show which Services would change addresses under another configuration",
		Long: `Diff tries a configuration on the Services of a cluster. It shows which Services would
keep, lose, change or gain addresses, and why. It runs the controller's own code and
changes nothing.

The Services are those of the cluster that kubectl uses, or those of a file. Their
present addresses are those in their statuses. With --from, the comparison starts from
the result of another configuration, and with --cluster from that of the cluster's
configuration: the difference then has only the effects of the new configuration.

` + configurationHelp + `

The table has the Services whose addresses change. As JSON or YAML it is a list of all Services
with service, change, from, to, pool, reason and message.

Exit status: 0 if all Services keep their addresses; 1 if some change; 2 if there was a
mistake.`,
		Example: `  heraldctl diff -f new.yaml
  kubectl get services,namespaces -A -o yaml | heraldctl diff -f new.yaml --from old.yaml --services -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			job.files = append(job.files, args...)
			err := job.run(cmd)
			if errors.Is(err, errInvalid) {
				return errPrinted // exit status 1 means changes here
			}
			return err
		},
	}
	job.addFlags(cmd, of, "new configuration")
	job.output.addFlags(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&job.services, "services", nil, "manifests of Services and Namespaces, instead of the cluster's: `file` or folder; - is standard input")
	flags.StringArrayVar(&job.from, "from", nil, "configuration to compare with: `file` or folder; without it, the Services' statuses")
	of.addClusterFlag(cmd, &job.fromNow, "compare with the cluster's configuration")
	flags.StringVar(&job.assign.Class, "lb-class", "", "spec.loadBalancerClass of the Services to handle, like the controller's flag")
	cmd.MarkFlagsMutuallyExclusive("from", "cluster")
	return cmd
}

func (j diffJob) run(cmd *cobra.Command) error {
	if !j.named() {
		return errors.New("no configuration: name one with -f")
	}
	if onStdin(slices.Concat(j.files, j.services, j.from)...) > 1 {
		return errOneStdin
	}
	cfg, err := loadOne(cmd, j.source)
	if err != nil {
		return err
	}
	s, err := j.objects(cmd, j.services, true, kube.Read)
	if err != nil {
		return err
	}
	// The controller's order is by age. Services of unknown age stay in the order of
	// the file.
	slices.SortStableFunc(s.Services, func(a, b *cluster.Service) int { return a.Created.Compare(b.Created) })
	preview := assign.NewPreview(s, j.assign)
	before := preview.Results()
	if len(j.from) > 0 || j.fromNow {
		old := j.source
		old.files, old.kustomize, old.cluster = j.from, nil, j.fromNow
		cfg, err := loadOne(cmd, old)
		if err != nil {
			return err
		}
		before = preview.Apply(cfg)
	}
	warnOverlaps(cmd, together(j.services), cfg, s)
	changes := compare(before, preview.Apply(cfg))
	warnShared(cmd, together(j.services), preview.SharedAcross(cfg))
	if err := j.write(cmd, changes); err != nil {
		return err
	}
	if slices.ContainsFunc(changes, func(c change) bool { return c.Change != assign.Keep }) {
		return errChanges
	}
	return nil
}

// A change is an item of the JSON list.
type change struct {
	Service string        `json:"service"`
	Change  assign.Change `json:"change"`
	From    []netip.Addr  `json:"from"` // never null
	To      []netip.Addr  `json:"to"`   // never null
	Pool    string        `json:"pool"`
	Reason  string        `json:"reason"`
	Message string        `json:"message"`
}

// compare returns the change of each Service, in the order of both lists.
func compare(before, after []assign.Result) []change {
	list := []change{}
	for i, o := range after {
		c := change{
			Service: o.Service.String(),
			Change:  assign.ChangeOf(before[i].Addrs, o.Addrs),
			From:    addressList(before[i].Addrs), To: addressList(o.Addrs),
			Pool: o.Pool, Reason: string(o.Reason), Message: o.Message,
		}
		if o.Lost != "" {
			c.Message = o.Lost + "; then: " + o.Message
		}
		list = append(list, c)
	}
	return list
}

func (j diffJob) write(cmd *cobra.Command, changes []change) error {
	return j.output.write(cmd.OutOrStdout(), changes, func(t table, _ bool) {
		count := map[assign.Change]int{}
		for _, c := range changes {
			count[c.Change]++
			if c.Change == assign.Keep {
				continue
			}
			if count[assign.Lose]+count[assign.Move]+count[assign.Gain] == 1 {
				j.output.header(t, "CHANGE", "SERVICE", "FROM", "TO", "POOL", "WHY")
			}
			t.row(c.Change, c.Service, listed(c.From), listed(c.To), orNone(c.Pool), c.Message)
		}
		if !j.output.noHeaders {
			t.row(fmt.Sprintf("%d keep, %d lose, %d move, %d gain", count[assign.Keep], count[assign.Lose], count[assign.Move], count[assign.Gain]))
		}
	})
}
