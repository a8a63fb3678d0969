#!/bin/sh
# The pages' images are beside their text; the site serves what is in public.
set -eu
rm -rf public/images
cp -r ../docs/images public/images
