# Publishes an image built by Packer. Replace the `file` source with your own, such as qemu; the post-processor publishes
# its disk.
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

  # Safe to repeat: imgsrv resumes an interrupted run, and refuses different content for a published version.
  post-processor "shell-local" {
    inline = ["${var.imgsrv} publish ${var.image} ${var.version} output/disk.qcow2 --alias latest"]
  }
}
