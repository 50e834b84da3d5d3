"""What the camera sees, in the forms that other programs and models take."""
