// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestMisuse(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"a flag that does not exist", []string{"--no-such-flag"}, "unknown flag: --no-such-flag"},
		{"a log format that does not exist", []string{"--log-format=xml"}, `--log-format "xml"`},
		{"a kubeconfig that does not exist", []string{"--kubeconfig=no/such/file"}, "no/such/file"},
		{"a grace time below zero", []string{"--address-grace=-1s"}, "--address-grace: -1s"},
		{"flags of MetalLB's are no misuse", []string{"--webhook-mode=disabled", "--kubeconfig=no/such/file"}, "no/such/file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if code := run(t.Context(), tt.args, func(string) string { return "" }, &out); code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
			if !strings.HasPrefix(out.String(), "herald-controller: ") || !strings.Contains(out.String(), tt.want) {
				t.Errorf("the output is %q, want %q in it", out.String(), tt.want)
			}
		})
	}
}
