"""Quality as data: what each measure means, where it turns yellow, orange and red, and the verdict on a frame."""
