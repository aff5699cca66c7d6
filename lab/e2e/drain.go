// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/heraldlb/herald/lab"
)

// LaterPass waits until the agents of nodes, no nodes meaning all, have decided again:
// a label that means nothing wakes them.
func (e *Test) LaterPass(nodes ...*lab.Node) {
	e.T.Helper()
	if len(nodes) == 0 {
		nodes = e.Nodes
	}
	before := map[*lab.Node]uint64{}
	for _, n := range nodes {
		e.Eventually("passes of "+n.Name, func(ctx context.Context) error {
			r, err := e.AgentReport(ctx, n)
			before[n] = r.Passes
			return err
		})
	}
	const label = "lab.heraldlb.io/pass"
	if err := e.Cluster.LabelNode(e.T.Context(), e.Nodes[len(e.Nodes)-1].Name, label, strconv.FormatInt(time.Now().UnixNano(), 36)); err != nil {
		e.T.Fatal(err)
	}
	for _, n := range nodes {
		e.Eventually("a later pass of "+n.Name, func(ctx context.Context) error {
			r, err := e.AgentReport(ctx, n)
			if err == nil && r.Passes == before[n] {
				err = fmt.Errorf("it has made %d", r.Passes)
			}
			return err
		})
	}
}
