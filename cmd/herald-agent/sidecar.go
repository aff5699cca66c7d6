// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/heraldlb/herald/frr"
)

// extras returns what the operator has added to FRR's configuration.
func (o *options) extras() []byte {
	if o.frrConf == "" {
		return nil
	}
	text, _ := frr.ReadExtras(filepath.Dir(o.frrConf)) // what cannot be read cannot be kept
	return text
}

// heartbeat tells the FRR container that an agent is there.
func (o *options) heartbeat(ctx context.Context, log *slog.Logger) error {
	if o.frrConf == "" {
		<-ctx.Done()
		return nil
	}
	return frr.Heartbeat(ctx, filepath.Dir(o.frrConf), log.With("component", "frr"))
}
