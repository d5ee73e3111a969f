# Publishes what Packer has built. Put your own source, such as qemu, in the place of the file; its disk is what the
# post-processor publishes.
#
#   export IMGSRV_URL=https://images.example.org IMGSRV_TOKEN=imgsrv_at_...
#   packer build -var image=debian -var version=12.5.0 -var disk=disk.qcow2 publish.pkr.hcl

variable "image" { type = string }
variable "version" { type = string }
variable "disk" { type = string }
variable "imgsrv" {
  type    = string
  default = "imgsrv"
}

source "file" "disk" {
  source = var.disk
  target = "output/disk.qcow2"
}

build {
  sources = ["source.file.disk"]

  # Running it again is safe: imgsrv goes on where an earlier run was interrupted, and refuses other content under a
  # version that is published.
  post-processor "shell-local" {
    inline = ["${var.imgsrv} publish ${var.image} ${var.version} output/disk.qcow2 --alias latest"]
  }
}
