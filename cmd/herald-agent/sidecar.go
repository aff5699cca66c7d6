// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/kube"
)

// extras returns what the operator has added to FRR's configuration.
func (o *options) extras() []byte {
	if o.frrConf == "" {
		return nil
	}
	text, _ := frr.ReadExtras(filepath.Dir(o.frrConf)) // what cannot be read cannot be kept
	return text
}

// withFRR returns what an agent does for the FRR container beside it.
func (o *options) withFRR(client *kube.Client, log *slog.Logger) daemon.Task {
	const name = "frr container"
	if o.frrConf == "" {
		return daemon.Task{Name: name, Run: func(context.Context) error { return nil }}
	}
	dir := filepath.Dir(o.frrConf)
	extras := newExtrasSource(dir, client, o.Namespace, log)
	return daemon.Task{Name: name, Run: func(ctx context.Context) error {
		return daemon.Run(ctx,
			daemon.Task{Name: "heartbeat", Run: func(ctx context.Context) error { return frr.Heartbeat(ctx, dir, log) }},
			daemon.Task{Name: "extras watch", Run: extras.watch},
			daemon.Task{Name: "extras", Run: extras.run},
		)
	}}
}
