// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	_ "embed" // for frr.conf.tmpl
	"fmt"
	"text/template"

	"github.com/heraldlb/herald/config"
)

//go:embed frr.conf.tmpl
var frrConf string

var frrTemplate = template.Must(template.New("frr.conf").Parse(frrConf))

// FRR returns the frr.conf for c. Its lines are the ones that FRR shows in its running
// configuration, so that the two can be compared as text. FRR returns an error if a
// name or a password would be more than one word of a line, or if a number does not
// fit.
func FRR(c Config) ([]byte, error) { return frr(c, config.Secret.Reveal) }

// Redacted is like FRR, with a placeholder for each password.
func Redacted(c Config) ([]byte, error) { return frr(c, config.Secret.String) }

func frr(c Config, show func(config.Secret) string) ([]byte, error) {
	if err := validate(c); err != nil {
		return nil, fmt.Errorf("render frr.conf: %w", err)
	}
	v, err := newView(c, show)
	if err != nil {
		return nil, fmt.Errorf("render frr.conf: %w", err)
	}
	var b bytes.Buffer
	b.Grow(4096 + 64*len(c.Networks))
	if err := frrTemplate.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("render frr.conf: %w", err)
	}
	return b.Bytes(), nil
}
