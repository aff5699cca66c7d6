// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/topology"
)

func getCommand(of *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get services|pools|nodes|peers|routes",
		Short: "List Services, pools, nodes, peers or routes, or those with problems",
		Long: `Get lists what Herald knows, as status does: it asks the API server and the nodes' agents,
changes nothing and reads no Secret. What could not be asked is named on standard error.

With --problems it lists only what has a problem. The column PROBLEM has the words that
"heraldctl why" and docs/troubleshooting.md explain; with -o wide it has the cause, too.

As JSON or YAML it is an object with schemaVersion, at, namespace, unasked (what could not
be asked), items and problems (those about the items).

Exit status: 0 if the list was printed; with --problems 1 if it is not empty, and 2 if it is
empty and too little could be read to tell; 2 if what is listed could not be read, or there
is nothing of a name that was given.`,
		Example: `  heraldctl get services --problems
  heraldctl get services --node n1
  heraldctl get pools -o wide
  heraldctl get routes --peer tor-a --ip 192.0.2.7`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			want := strings.TrimPrefix(cmd.Use, "get ")
			if len(args) == 0 {
				return fmt.Errorf("name what to list: %s", want)
			}
			return fmt.Errorf("there is no list of %s%s; want %s", args[0], config.DidYouMean(args[0], strings.Split(want, "|")), want)
		},
	}
	cmd.AddCommand(getKind(of, servicesKind), getKind(of, poolsKind), getKind(of, nodesKind), getKind(of, peersKind), getKind(of, routesKind))
	return cmd
}

// A kind is what get lists: objects of a Topology, and the columns of their table.
type kind[T any] struct {
	name, short string // in the plural, and what the command does
	aliases     []string
	filters     []string // names of flags, besides --problems
	required    string   // without objects of this kind there is nothing to list; empty: without a configuration

	of      func(topology.Topology) []T
	id      func(T) string                    // what arguments call it; nil: there are none
	objects func(T) []string                  // what problems call it
	keeps   func(*filter, T) bool             // whether it passes the filters
	narrow  func(*filter, T) T                // optional: leaves out what the filters leave out of it
	fault   func(topology.Topology, T) string // optional: a problem of its own, in words
	columns []column[T]
}

// A column has a cell of each object. It is empty if there is nothing to say.
type column[T any] struct {
	name string
	wide bool // for -o wide alone
	cell func(t topology.Topology, x T, wide bool) any
}

// always returns a column that is always there.
func always[T any](name string, cell func(T) any) column[T] {
	return column[T]{name, false, func(_ topology.Topology, x T, _ bool) any { return cell(x) }}
}

// wideOnly returns a column for -o wide.
func wideOnly[T any](name string, cell func(T) any) column[T] {
	return column[T]{name, true, func(_ topology.Topology, x T, _ bool) any { return cell(x) }}
}

// A filter says which objects are wanted. The zero value wants all.
type filter struct {
	names            []string
	node, pool, peer string
	ip               string
	addr             netip.Addr // of ip
	problems         bool

	among   topology.Pool // the pool
	holders []string      // nodes that are to have a session with the peer
}

// A getJob has the flags of a command of heraldctl get.
type getJob struct {
	lookJob
	list output
	filter
}

// filterFlags are the flags of filters with what they say.
var filterFlags = []struct {
	name, usage string
	value       func(*filter) *string
}{
	{"node", "only what concerns this `node`", func(f *filter) *string { return &f.node }},
	{"pool", "only what concerns addresses of this `pool`", func(f *filter) *string { return &f.pool }},
	{"peer", "only what concerns this BGP `peer`", func(f *filter) *string { return &f.peer }},
	{"ip", "only what concerns this `address`", func(f *filter) *string { return &f.ip }},
}

func getKind[T any](of *connection, k kind[T]) *cobra.Command {
	job := getJob{lookJob: lookJob{connection: of}}
	use, args := k.name, cobra.NoArgs
	if k.id != nil {
		use, args = use+" [NAME...]", cobra.ArbitraryArgs
	}
	cmd := &cobra.Command{
		Use: use, Aliases: k.aliases, Short: k.short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			job.names = args
			return list(cmd, &job, k)
		},
	}
	job.list.addFlags(cmd)
	cmd.Flags().BoolVar(&job.problems, "problems", false, "only what has a problem; exit with 1 if there is any")
	for _, f := range filterFlags {
		if slices.Contains(k.filters, f.name) {
			cmd.Flags().StringVar(f.value(&job.filter), f.name, "", f.usage)
		}
	}
	job.addLookFlags(cmd)
	return cmd
}

// A listing is what get prints as JSON or YAML.
type listing[T any] struct {
	SchemaVersion int                `json:"schemaVersion"`
	At            time.Time          `json:"at"`
	Namespace     string             `json:"namespace"`
	Unasked       []topology.Unasked `json:"unasked,omitempty"`
	Items         []T                `json:"items"`    // never null
	Problems      []topology.Problem `json:"problems"` // never null
}

// list prints the objects of a kind that pass the filters.
func list[T any](cmd *cobra.Command, job *getJob, k kind[T]) error {
	t, err := job.look(cmd, job.node)
	if err != nil {
		return err
	}
	if err := unread(t, k.required); err != nil {
		return err
	}
	carryOn(cmd, t.Problems)
	all := k.of(t)
	if err := job.check(t); err != nil {
		return err
	}
	if k.id != nil {
		if err := namesOf(job.names, all, k); err != nil {
			return err
		}
	}
	about := problemIndex(t.Problems)
	out := listing[T]{
		SchemaVersion: t.SchemaVersion, At: t.At, Namespace: t.Namespace, Unasked: t.Unasked,
		Items: []T{}, Problems: []topology.Problem{},
	}
	troubles := []trouble{} // of each item
	listed := map[int]bool{}
	unjudged := false // it is not known of a Service whether it works
	for _, x := range all {
		if k.id != nil && len(job.names) > 0 && !slices.ContainsFunc(job.names, func(n string) bool { return called(n, k.id(x)) }) || !k.keeps(&job.filter, x) {
			continue
		}
		if s, is := any(x).(topology.Service); is && s.Unjudged() {
			unjudged = true
		}
		trouble := about.of(k.objects(x))
		if k.fault != nil {
			trouble.own = k.fault(t, x)
		}
		if job.problems && trouble.none() {
			continue
		}
		if k.narrow != nil {
			x = k.narrow(&job.filter, x)
		}
		for _, i := range trouble.problems {
			listed[i] = true
		}
		out.Items, troubles = append(out.Items, x), append(troubles, trouble)
	}
	for i, p := range t.Problems {
		if listed[i] {
			out.Problems = append(out.Problems, p)
		}
	}
	if job.list.tabular() {
		newPrinter(cmd.ErrOrStderr()).unasked(t.Unasked, job.list.format == viewWide)
	}
	err = job.list.write(cmd.OutOrStdout(), out, func(to table, wide bool) {
		if len(out.Items) == 0 {
			return
		}
		job.list.header(to, k.header(wide)...)
		for i, x := range out.Items {
			to.row(append(k.cells(t, x, wide), troubles[i].text(t.Problems, wide))...)
		}
	})
	switch {
	case err != nil:
		return err
	case len(out.Items) == 0 && job.list.tabular():
		cmd.PrintErrln(nothing(k.name, job.problems, len(all)))
	}
	switch {
	case !job.problems:
	case len(out.Items) > 0:
		return errBroken
	case t.Incomplete() || unjudged:
		return errUnknown
	}
	return nil
}

// unread returns an error if what is to be listed could not be read.
func unread(t topology.Topology, required string) error {
	for _, u := range t.Unasked {
		if u.What == required {
			return errors.New(u.Error)
		}
	}
	if required == "" && !t.Config.Loaded {
		return fmt.Errorf("no configuration is in force: %s", t.Config.Error)
	}
	return nil
}

// nothing says that a list is empty.
func nothing(name string, problems bool, all int) string {
	switch {
	case all == 0:
		return "There are no " + name + "."
	case problems:
		return fmt.Sprintf("No problem was found (%d %s).", all, name)
	}
	return fmt.Sprintf("No %s match (of %d).", name, all)
}

func (k kind[T]) header(wide bool) (out []any) {
	for _, c := range k.columns {
		if wide || !c.wide {
			out = append(out, c.name)
		}
	}
	return append(out, "PROBLEM")
}

func (k kind[T]) cells(t topology.Topology, x T, wide bool) (out []any) {
	for _, c := range k.columns {
		if wide || !c.wide {
			out = append(out, orNone(fmt.Sprint(c.cell(t, x, wide))))
		}
	}
	return out
}

// check reads the address of a filter, and returns an error if there is nothing of a name.
func (f *filter) check(t topology.Topology) (err error) {
	if f.ip != "" {
		if f.addr, err = netip.ParseAddr(f.ip); err != nil {
			return fmt.Errorf("--ip: %q is no address", f.ip)
		}
		f.addr = f.addr.Unmap()
	}
	f.among, _ = t.Pool(f.pool)
	peer, _ := t.Peer(f.peer)
	for _, s := range peer.Sessions {
		if s.Wanted {
			f.holders = append(f.holders, s.Node)
		}
	}
	var nodes []string
	for _, n := range t.Nodes {
		nodes = append(nodes, n.Name)
	}
	for _, of := range []struct {
		kind, name string
		known      []string
	}{{"node", f.node, nodes}, {"pool", f.pool, poolNames(t)}, {"peer", f.peer, peerNames(t)}} {
		if of.name != "" && !slices.Contains(of.known, of.name) {
			return missing(of.kind, of.name, of.known)
		}
	}
	return nil
}

// missing returns the error that there is nothing of a name.
func missing(kind, name string, known []string) error {
	if meant := config.Closest(name, known); meant != "" {
		return fmt.Errorf("there is no %s %q; did you mean %q?", kind, name, meant)
	}
	return fmt.Errorf("there is no %s %q", kind, name)
}

// namesOf returns an error unless each name is that of an object.
func namesOf[T any](names []string, all []T, k kind[T]) error {
	var errs []error
	for _, name := range names {
		if slices.ContainsFunc(all, func(x T) bool { return called(name, k.id(x)) }) {
			continue
		}
		var known []string
		for _, x := range all {
			id := k.id(x)
			if _, short, ok := strings.Cut(id, "/"); ok && !strings.Contains(name, "/") {
				id = short
			}
			known = append(known, id)
		}
		errs = append(errs, missing(strings.TrimSuffix(k.name, "s"), name, known))
	}
	return errors.Join(errs...)
}

// called reports whether an argument names an object. A Service is NAMESPACE/NAME, or NAME,
// and NAMESPACE/ names all of a namespace.
func called(arg, id string) bool {
	if strings.HasSuffix(arg, "/") {
		return strings.HasPrefix(id, arg)
	}
	return arg == id || strings.HasSuffix(id, "/"+arg)
}
