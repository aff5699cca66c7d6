// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heraldlb/herald/l2/members"
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

func TestReadKey(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name, dir, secret string
		want              []byte
	}{
		{"no directory", "", "", nil},
		{"an empty secret", dir, " \n", nil},
		{"a secret", dir, "abc\n", members.Key("abc")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "secretkey"), []byte(tt.secret), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readKey(tt.dir)
			if err != nil || string(got) != string(tt.want) {
				t.Errorf("%x, %v, want %x", got, err, tt.want)
			}
		})
	}
}
