// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/config"
)

// stdinName stands for standard input where a file is named.
const stdinName = "-"

// readFile returns what is in a file, or on standard input.
func readFile(cmd *cobra.Command, name string) ([]byte, error) {
	if name == stdinName {
		text, err := io.ReadAll(cmd.InOrStdin())
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return text, nil
	}
	return os.ReadFile(name)
}

// loadConfig reads a configuration: custom resources, a whole ConfigMap, or its
// document. It prints the mistakes in one, a line each, and returns errInvalid
// for them.
func loadConfig(cmd *cobra.Command, name string) (*config.Config, error) {
	text, err := readFile(cmd, name)
	if err != nil {
		return nil, err
	}
	return parseConfig(cmd, name, text)
}

func parseConfig(cmd *cobra.Command, name string, text []byte) (*config.Config, error) {
	resources, found, err := config.ReadResources(text)
	switch {
	case found && err != nil:
		cmd.PrintErrf("%s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return nil, errInvalid
	case found:
		return resolve(cmd, name, resources)
	}
	cfg, err := config.ParseConfigMap(text)
	if err == nil {
		return cfg, nil
	}
	var mistakes config.Errors
	if !errors.As(err, &mistakes) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, m := range mistakes {
		if m.Path == "" {
			cmd.PrintErrf("%s:%d: %s\n", name, m.Line, m.Reason)
			continue
		}
		cmd.PrintErrf("%s:%d: %s: %s\n", name, m.Line, m.Path, m.Reason)
	}
	return nil, errInvalid
}

// resolve judges resources as the controller does where none were before.
func resolve(cmd *cobra.Command, name string, resources config.Resources) (*config.Config, error) {
	r := config.Resolved{}.Next(resources)
	refused := r.Refused()
	for _, v := range refused {
		cmd.PrintErrf("%s: %s: %s: %s\n", name, v.ID, v.Reason, v.Message)
	}
	if len(refused) > 0 {
		return nil, errInvalid
	}
	for _, v := range r.Verdicts {
		for _, n := range v.Notes {
			cmd.PrintErrf("%s: %s: note: %s\n", name, v.ID, n)
		}
	}
	return r.Config, nil
}
