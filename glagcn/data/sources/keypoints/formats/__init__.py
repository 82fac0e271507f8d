"""One format of keypoint files each: does a content fit, and what poses does it hold."""
