// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/config"
)

const password = "correct-horse"

// holder has a Secret where its methods cannot be called by reflection.
type holder struct{ hidden config.Secret }

func TestSecretNeverPrinted(t *testing.T) {
	cfg, err := config.Parse([]byte("peers: [{my-asn: 64600, peer-asn: 64700, peer-address: 10.0.0.1, password: " + password + "}]"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := config.Parse([]byte("peers: [{my-asn: 64600, peer-asn: 64700, peer-address: 10.0.0.1, password: battery-staple}]"))
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.Peers[0].Password
	if s.Reveal() != password {
		t.Fatalf("Reveal: got %q", s.Reveal())
	}
	out := map[string]string{
		"String": s.String(),
		"Sprint": fmt.Sprint(s, &s, cfg, *cfg, cfg.Peers, []any{s}, map[string]any{"a": s}, fmt.Errorf("peer %v", s)),
		"cmp": cmp.Diff(cfg, other, cmpopts.EquateComparable(netip.Addr{}, config.Secret{})) +
			cmp.Diff(holder{s}, holder{}, cmp.AllowUnexported(holder{}, config.Secret{})),
	}
	for _, verb := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		for _, flags := range []string{"", "+", "#", " ", "-20.3", "# "} {
			format := "%" + flags + string(verb)
			out[format] = fmt.Sprintf(strings.Repeat(format+"\n", 4), s, &s, *cfg, holder{s})
		}
	}
	for name, marshal := range map[string]func(any) ([]byte, error){"json": json.Marshal, "yaml": yaml.Marshal} {
		b, err := marshal(map[string]any{"a": s, "b": &s, "c": cfg, "d": holder{s}})
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
	}
	var text, jsonText bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("peer", "a", s, "b", &s, "c", cfg, "d", *cfg, "e", holder{s})
	slog.New(slog.NewJSONHandler(&jsonText, nil)).Info("peer", "a", s, "b", &s, "c", cfg, "d", *cfg, "e", holder{s})
	out["slog text"], out["slog json"] = text.String(), jsonText.String()

	for name, got := range out {
		for _, p := range []string{password, fmt.Sprintf("%x", password), fmt.Sprintf("%X", password), fmt.Sprint([]byte(password))} {
			if strings.Contains(got, p) {
				t.Errorf("%s shows the password: %s", name, got)
			}
		}
	}
	if got := out["json"]; !strings.Contains(got, "[redacted]") {
		t.Errorf("json does not say that there is a password: %s", got)
	}
	if out["cmp"] == "" {
		t.Error("cmp.Diff sees no difference between two passwords")
	}
}

func TestSecretCompares(t *testing.T) {
	a, b := config.NewSecret(password), config.NewSecret(password)
	if a != b || !reflect.DeepEqual(a, b) || a == config.NewSecret("x") || a.IsZero() || config.NewSecret("") != (config.Secret{}) {
		t.Error("Secrets do not compare as their passwords do")
	}
	if z := (config.Secret{}); !z.IsZero() || z.String() != "" || z.Reveal() != "" {
		t.Error("the zero Secret is not empty")
	}
}
