"""Random detections that look like those of a detector: jittered, doubled, mislabelled, invented.

RandomState gives the same numbers in every version of NumPy, so results can be compared with
numbers recorded elsewhere.
"""

import numpy as np

Image = dict[str, list]


def make_images(seed: int, tied: bool, num_noise: int) -> tuple[list[Image], list[Image]]:
    """Make the detections and the ground truth of 20 images with 3 classes.

    Args:
        seed: of the random numbers.
        tied: round corners to 8 pixels and scores to one decimal, so that many are equal.
        num_noise: largest number of invented detections per image.
    """
    random = np.random.RandomState(seed)
    detections, truths = [], []
    for _ in range(20):
        boxes, labels = _random_boxes(random, random.randint(0, 12))
        found = random.uniform(size=len(boxes)) < 0.85
        found_again = found & (random.uniform(size=len(boxes)) < 0.4)
        index = np.concatenate([np.flatnonzero(found), np.flatnonzero(found_again)])
        jitter = np.tile(boxes[index, 2:] - boxes[index, :2], 2) * 0.08
        noise, noise_labels = _random_boxes(random, random.randint(0, num_noise + 1))
        guesses = np.concatenate([boxes[index] + jitter * random.normal(size=jitter.shape), noise])
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
        guess_labels = np.concatenate([labels[index], noise_labels])
        wrong = random.uniform(size=len(guesses)) < 0.1
        guess_labels = np.where(wrong, (guess_labels + 1) % 3, guess_labels)
        scores = np.round(random.uniform(size=len(guesses)), 1 if tied else 6)
        detections.append(_image(guesses, guess_labels, tied) | {"scores": _to_list(scores)})
        truths.append(_image(boxes, labels, tied))
    return detections, truths


def _random_boxes(random: np.random.RandomState, count: int) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.exp(random.uniform(np.log(6), np.log(220), (count, 2)))
    low = random.uniform(0, 300, (count, 2))
    return np.concatenate([low, low + sizes], axis=1), random.randint(0, 3, count)


def _image(boxes: np.ndarray, labels: np.ndarray, tied: bool) -> Image:
    return {
        "boxes": _to_list(np.round(boxes / 8) * 8 if tied else boxes),
        "labels": labels.tolist(),
    }


def _to_list(values: np.ndarray) -> list:
    # As float32 numbers, so that both implementations get exactly the same input.
    return values.astype(np.float32).astype(np.float64).tolist()
