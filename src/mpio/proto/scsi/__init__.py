"""SCSI: command descriptor blocks, sense, and the parameter data of SPC-4 and SBC-3, without I/O."""
