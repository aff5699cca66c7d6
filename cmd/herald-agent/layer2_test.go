// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"strings"
	"testing"
)

func TestLayer2Misuse(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name string
		opts options
		want string
	}{
		{"every address", options{bind: "0.0.0.0"}, `--ml-bindaddr "0.0.0.0"`},
		{"no address", options{bind: "eth0"}, `--ml-bindaddr "eth0"`},
		{"no secret", options{bind: "127.0.0.1", keyDir: dir}, "--ml-secret-key-path: open " + dir + "/secretkey"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.conflict = "warn"
			_, err := tt.opts.layer2(slog.New(slog.DiscardHandler))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}
