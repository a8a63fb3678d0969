# A development shell as Coder's, but of nothing: no nixpkgs, so no download.
derivation {
  name = "demo-shell";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" "echo > $out" ];
  DEMO_TOOLCHAIN = "nix-shell";
  stdenv = ./scripts/stdenv;
}
