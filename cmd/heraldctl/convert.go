// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/config"
)

func convertCommand(to *connection) *cobra.Command {
	var file string
	var renames []string
	cmd := &cobra.Command{
		Use:   "convert -f CONFIGMAP",
		Short: "Convert a ConfigMap to MetalLB's custom resources",
		Long: `Convert reads a ConfigMap of MetalLB, or the document in one, and prints equivalent
custom resources. Passwords go into Secrets. Convert reads its own output back and
compares it with the ConfigMap: it prints nothing that is not equivalent. Notes that
need attention go to standard error.

Pools with names that objects cannot have need new names by --rename.

Exit status: 0 if the ConfigMap was converted; 1 if it has mistakes or a setting that
resources cannot express; 2 if it cannot be read.`,
		Example: `  kubectl get configmap -n metallb-system config -o yaml | heraldctl convert -f - > resources.yaml
  heraldctl convert -f config.yaml --rename "My Pool=my-pool"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts := config.ConvertOptions{Namespace: to.namespace, Rename: map[string]string{}}
			for _, r := range renames {
				before, after, ok := strings.Cut(r, "=")
				if _, twice := opts.Rename[before]; !ok || twice || before == "" || after == "" {
					return fmt.Errorf("--rename %q: want OLD=NEW, once for each name", r)
				}
				opts.Rename[before] = after
			}
			return convert(cmd, file, opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&file, "filename", "f", "", "ConfigMap to convert; - is standard input")
	flags.StringArrayVar(&renames, "rename", nil, "OLD=NEW: new name of a pool or BFD profile; may be repeated")
	if err := cmd.MarkFlagRequired("filename"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

func convert(cmd *cobra.Command, name string, opts config.ConvertOptions) error {
	texts, err := readTexts(cmd, name, false)
	if err != nil {
		return err
	}
	if len(texts) > 1 {
		return fmt.Errorf("%s: a folder, want a file with a ConfigMap", name)
	}
	if _, resources, err := config.ReadResources(texts[0].data); err == nil && resources {
		cmd.PrintErrf("%s: these are custom resources, want a ConfigMap\n", name)
		return errInvalid
	}
	cfg, err := config.ParseConfigMap(texts[0].data)
	if err != nil {
		l := loaded{}
		l.document(document{name: name}, err)
		for _, f := range l.findings {
			cmd.PrintErrln(f)
		}
		return errInvalid
	}
	manifests, notes, err := config.Convert(cfg, opts)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			cmd.PrintErrf("%s: %s\n", name, line)
		}
		return errInvalid
	}
	for _, n := range notes {
		cmd.PrintErrf("%s: note: %s\n", name, n)
	}
	if _, err := verbatim(cmd.OutOrStdout()).Write(manifests); err != nil {
		return fmt.Errorf("print resources: %w", err)
	}
	return nil
}
