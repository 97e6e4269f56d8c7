"""The judge: how fast a market maker's capital grows, over some hundred games at once, against houses that compete.

It alone knows the values of what is traded. Each step the program and the house quote at the same time, then the value
moves, then takers come: some know where it moved, most do not. What comes next has not been sent, so nothing can be
read ahead; and no draw depends on a quote, so parent and child meet the same values, takers and houses at one seed.

Prices are in ticks. One lot gains or loses a tick for each tick that the value moves.

Why what a program answers cannot be worth more than it is:

- Whatever it trades is against somebody who accepts that price. Takers who know nothing still accept no price further
  from the value than what they are in need of, and the house accepts none on the wrong side of its own quote.
- Bids are rounded down and asks up, sizes down. Quotes that meet each other, are not finite, or have another size than
  is allowed end the run: a maker cannot trade with itself.
- The score is the mean of ln(capital at the end / at the beginning), with what is held priced at the value less what it
  costs to close it. Who doubles what is lost wins often and little, and is ruined in some of these games: in a fair
  game the gain in the one is at most the loss in the others, and the logarithm makes it less. Values jump several times
  in every game, so that no risk is too rare to be met.
- The market of a run and the house of each game are drawn, so what suits one is of no use by itself.
"""

import numpy as np

GAMES, STEPS = 512, 250
HISTORY = 32  # games without the program, which it is shown before
CAPITAL = 1000.0  # ticks times lots
RUINED = 0.2  # of the capital: below it a game is closed
LEAST = 0.05  # of the capital: what is counted at least, since a jump may take more than there is
MOST_LOTS, MOST_INVENTORY = 10, 40
MOST_PRICE = 1e6
HOUSE_INVENTORY = 60
NOISE_TAKERS, INFORMED_LOTS = 5, 4  # of one side and step at most
INFORMED_COST = 1.0  # ticks that who knows the value must gain at least
CLOSING, IMPACT = 2.0, 0.1  # ticks for a lot closed at the end, and for each lot beside it
ANSWERS = dict.fromkeys(("bid", "ask", "bid_size", "ask_size"), (GAMES,))


class Rejected(Exception):
    """What the program answered are no quotes; the text says why."""


def judge(session, seed, split):
    """Score a program on a split, "val" or "holdout". Returns finite numbers by name: "value" is the score."""
    climate = Climate(session.generator("climate"))
    session.prepare(**history(session.generator("history"), climate))
    market = Market(Games(session.generator(split), climate, GAMES))
    seen = []
    for step in range(STEPS):
        market.play(quotes(session.ask(market.shown(), shape=ANSWERS)))
        seen.append(market.seen_of_first())
        session.progress((step + 1) / STEPS)
    show(session, np.array(seen))
    growth = np.log(np.maximum(market.closed() / CAPITAL, LEAST))
    return {
        "value": growth.mean(),
        "error": growth.std(ddof=1) / np.sqrt(GAMES),
        "worst_twentieth": np.sort(growth)[: GAMES // 20].mean(),
        "ruined": (~market.alive).mean(),
        "lots_traded": market.traded.mean(),
        "mean_inventory": market.held.mean() / STEPS,
    }


def show(session, seen):
    """Have people see the first game. seen: a row for each step, as `Market.seen_of_first` gives it."""
    value, bid, ask, house_bid, house_ask, lots, capital = seen.T
    prices = {"value": value, "bid": bid, "ask": ask, "house bid": house_bid, "house ask": house_ask}
    session.replay(prices=prices, inventory={"lots": lots}, capital={"ticks times lots": capital})


def history(dice, climate):
    """What the public saw of games between house and takers alone, each of shape (STEPS, HISTORY)."""
    market = Market(Games(dice, climate, HISTORY))
    nobody = {name: np.zeros(HISTORY) for name in ANSWERS}
    seen = []
    for _ in range(STEPS):
        market.play(nobody)
        seen.append(market.shown())
    public = ("index", "house_bid", "house_ask", "market_buys", "market_sells")
    return {name: np.stack([shown[name] for shown in seen]) for name in public}


def quotes(answer):
    """The program's quotes as whole ticks and lots, rounded against it. Raises Rejected."""
    given = {name: each.astype(np.float64) for name, each in answer.items()}
    for name, each in given.items():
        if not np.isfinite(each).all():
            raise Rejected(f"{name} is not finite; who does not want to quote gives a size of 0")
    sizes = np.stack([given["bid_size"], given["ask_size"]])
    if (sizes < 0).any() or (sizes > MOST_LOTS).any():
        raise Rejected(f"a size must be from 0 to {MOST_LOTS} lots")
    bid, ask = np.floor(given["bid"]), np.ceil(given["ask"])
    if max(np.abs(bid).max(), np.abs(ask).max()) > MOST_PRICE:
        raise Rejected(f"a price is beyond {MOST_PRICE:g} ticks")
    bid_size, ask_size = np.floor(sizes)
    if ((bid >= ask) & (bid_size > 0) & (ask_size > 0)).any():
        raise Rejected("a bid is not below the ask beside it: a maker cannot trade with itself")
    return {"bid": bid, "ask": ask, "bid_size": bid_size, "ask_size": ask_size}


class Climate:
    """The market of one run: what its games have in common."""

    def __init__(self, dice):
        self.volatility = 0.8 * about_one(dice, spread=0.08)  # ticks a step while it is calm
        self.storm = dice.uniform(2.8, 3.6)  # times as much in a storm
        self.jump = 10.0 * about_one(dice, spread=0.08)  # ticks, the usual size of a jump
        self.jumps = 3.0 * about_one(dice, spread=0.08) / STEPS  # a step
        self.index_noise = 2.5 * about_one(dice, spread=0.08)  # ticks by which the index is off
        self.takers = 1.2 * about_one(dice, spread=0.08)  # lots of a side and step
        self.need = 5.0 * about_one(dice, spread=0.08)  # ticks that who knows nothing pays at most, in the mean
        self.informed = 0.25 * about_one(dice, spread=0.08)  # the chance that somebody who knows comes, a step
        self.persistence = dice.uniform(0.90, 0.97)  # with which one side has more takers


def about_one(dice, size=None, spread=0.25):
    return np.exp(spread * dice.normal(size=size))


class Games:
    """All that is drawn of some games, before anybody quotes. Shapes begin with (STEPS or STEPS + 1, games)."""

    def __init__(self, dice, climate, games):
        self.games = games
        self.value = values(dice, climate, games)
        noise = climate.index_noise * about_one(dice, games)
        self.index = self.value + noise * dice.normal(size=self.value.shape)
        lean = imbalance(dice, climate, games)
        rate = climate.takers * about_one(dice, games)
        need = climate.need * about_one(dice, games)
        self.buyers = self._limits(dice, self.value[:-1], rate * np.exp(lean), need, 1)
        self.sellers = self._limits(dice, self.value[:-1], rate * np.exp(-lean), need, -1)
        share = np.clip(climate.informed * np.exp(0.5 * dice.normal(size=games)), 0, 0.8)
        lots = dice.integers(1, INFORMED_LOTS + 1, (STEPS, games)) * (dice.random((STEPS, games)) < share)
        known = self.value[1:, :, None]
        come = np.arange(INFORMED_LOTS) < lots[..., None]
        self.buyers = np.concatenate([self.buyers, np.where(come, known - INFORMED_COST, -np.inf)], axis=2)
        self.sellers = np.concatenate([self.sellers, np.where(come, known + INFORMED_COST, np.inf)], axis=2)
        self.first = dice.random((STEPS, 2, games)) < 0.5  # whose quote comes first where both are the same
        self.house = House(dice, self.value, games)

    @staticmethod
    def _limits(dice, value, rate, need, side):
        """The worst price that each taker of a side accepts, (STEPS, games, NOISE_TAKERS); none where none comes."""
        come = np.arange(NOISE_TAKERS) < dice.poisson(rate)[..., None]
        premium = need[:, None] * dice.exponential(size=(*value.shape, NOISE_TAKERS))
        return np.where(come, value[..., None] + side * premium, -side * np.inf)


def values(dice, climate, games):
    """What is traded: steps that are small or, in a storm, large, and jumps. Shape (STEPS + 1, games)."""
    calm = climate.volatility * about_one(dice, games)
    begins, ends = 1 / 100, 1 / 25
    change = dice.random((STEPS, games))
    stormy = dice.random(games) < begins / (begins + ends)
    size = np.empty((STEPS, games))
    for step in range(STEPS):
        stormy = np.where(stormy, change[step] >= ends, change[step] < begins)
        size[step] = calm * np.where(stormy, climate.storm, 1.0)
    jumps = (dice.random((STEPS, games)) < climate.jumps) * climate.jump * dice.normal(size=(STEPS, games))
    moves = np.cumsum(size * dice.normal(size=size.shape) + jumps, axis=0)
    return dice.uniform(5000, 10000, games) + np.concatenate([np.zeros((1, games)), moves])


def imbalance(dice, climate, games):
    """By how much, in logarithms, buyers are more than usual and sellers fewer: it comes and goes."""
    lean, spread = np.zeros((STEPS, games)), 0.5 * np.sqrt(1 - climate.persistence**2)
    lean[0] = 0.5 * dice.normal(size=games)
    for step in range(1, STEPS):
        lean[step] = climate.persistence * lean[step - 1] + spread * dice.normal(size=games)
    return lean


class House:
    """The maker that competes: another one in each game, between sleepy, sharp, wary and undercutting.

    Its quotes have chance in them, and it learns from takers and from news of its own, never from the program's trades
    with it: so it cannot be led.
    """

    def __init__(self, dice, value, games):
        kind = dice.integers(0, 4, games)
        self.half = np.array([5.0, 3.5, 4.5, 5.0])[kind] * about_one(dice, games)
        self.gain = np.array([0.25, 0.8, 0.4, 0.4])[kind] * about_one(dice, games)  # of the news, a step
        self.impact = np.array([0.0, 0.1, 0.5, 0.2])[kind] * about_one(dice, games)  # ticks for a lot taken
        self.wary = np.array([0.0, 0.5, 1.0, 0.3])[kind] * about_one(dice, games)  # ticks for a tick moved lately
        self.undercuts = np.array([0.0, 0.1, 0.0, 0.7])[kind]  # the chance, a step
        self.skew = dice.uniform(0.02, 0.15, games)  # ticks for a lot held
        self.size = dice.integers(2, 6, games).astype(float)
        off = np.array([3.0, 1.5, 3.0, 2.5])[kind]  # ticks by which its news are off
        self.news = value + off * dice.normal(size=value.shape)
        self.whims = dice.exponential(0.8, (len(value), 2, games))  # ticks that it adds to either side
        self.urges = dice.random((len(value), games))
        self.belief = self.news[0].copy()
        self.moved = np.zeros(games)
        self.inventory = np.zeros(games)

    def quote(self, step, rival):
        """Its bid, ask and sizes for this step, whole ticks and lots, knowing the rival's quotes of the last one."""
        half = self.half + self.wary * self.moved
        centre = self.belief - self.skew * self.inventory
        bid, ask = centre - half - self.whims[step, 0], centre + half + self.whims[step, 1]
        eager = self.urges[step] < self.undercuts
        least = 0.4 * half
        above, below = rival["bid"] + 1, rival["ask"] - 1
        bid = np.where(eager & (rival["bid_size"] > 0), np.maximum(bid, np.minimum(above, centre - least)), bid)
        ask = np.where(eager & (rival["ask_size"] > 0), np.minimum(ask, np.maximum(below, centre + least)), ask)
        return {
            "bid": np.floor(bid),
            "ask": np.ceil(ask),
            "bid_size": np.clip(HOUSE_INVENTORY - self.inventory, 0, self.size),
            "ask_size": np.clip(HOUSE_INVENTORY + self.inventory, 0, self.size),
        }

    def learn(self, step, flow):
        """After a step: news, and by how many lots takers bought more than they sold."""
        before = self.belief
        self.belief = before + np.minimum(self.gain, 1.0) * (self.news[step] - before) + self.impact * flow
        self.moved = 0.8 * self.moved + 0.2 * np.abs(self.belief - before)


class Market:
    """Games under way: quotes, trades, and what the program has."""

    def __init__(self, drawn):
        self._drawn, self._step, games = drawn, 0, drawn.games
        self.cash = np.full(games, CAPITAL)
        self.inventory, self.traded, self.held = np.zeros(games), np.zeros(games), np.zeros(games)
        self.alive = np.ones(games, dtype=bool)
        self._quotes = {name: np.zeros(games) for name in ANSWERS}
        self._house = drawn.house.quote(0, self._quotes)
        self._fills = {name: np.zeros(games) for name in ("bid_fills", "ask_fills", "market_buys", "market_sells")}

    def shown(self):
        """What the program is asked with, each of shape (games,)."""
        return {
            "index": self._drawn.index[self._step],
            "house_bid": self._house["bid"],  # of the last step, as all of these
            "house_ask": self._house["ask"],
            **self._fills,
            "inventory": self.inventory,
            "cash": self.cash,
            "steps_left": np.full(self._drawn.games, float(STEPS - self._step)),
        }

    def play(self, own):
        """One step with these quotes of the program."""
        step, drawn = self._step, self._drawn
        own = {**own, **self._within_limits(own)}
        house = drawn.house.quote(step, self._quotes)
        own_left = {side: own[f"{side}_size"].copy() for side in ("bid", "ask")}
        house_left = {side: house[f"{side}_size"].copy() for side in ("bid", "ask")}
        # Quotes that cross trade in the middle between them, before anybody else.
        middle = (own["bid"] + house["ask"]) / 2, (own["ask"] + house["bid"]) / 2
        bought = np.where(own["bid"] >= house["ask"], np.minimum(own_left["bid"], house_left["ask"]), 0.0)
        sold = np.where(house["bid"] >= own["ask"], np.minimum(own_left["ask"], house_left["bid"]), 0.0)
        self.cash += sold * middle[1] - bought * middle[0]
        own_left["bid"], house_left["ask"] = own_left["bid"] - bought, house_left["ask"] - bought
        own_left["ask"], house_left["bid"] = own_left["ask"] - sold, house_left["bid"] - sold
        # Takers. Those of the ask side accept prices up to their limits, those of the bid side down to them.
        asks, house_asks = taken(
            drawn.buyers[step], (own["ask"], own_left["ask"]), (house["ask"], house_left["ask"]), drawn.first[step, 0]
        )
        bids, house_bids = taken(
            -drawn.sellers[step],
            (-own["bid"], own_left["bid"]),
            (-house["bid"], house_left["bid"]),
            drawn.first[step, 1],
        )
        self.cash += asks * own["ask"] - bids * own["bid"]
        self.inventory = self.inventory + bids + bought - asks - sold
        drawn.house.inventory = drawn.house.inventory + house_bids + sold - house_asks - bought
        buys, sells = asks + house_asks, bids + house_bids
        drawn.house.learn(step + 1, buys - sells)
        self._fills = {
            "bid_fills": bids + bought, "ask_fills": asks + sold, "market_buys": buys, "market_sells": sells
        }  # fmt: skip
        self._quotes, self._house, self._step = own, house, step + 1
        self.traded += bids + bought + asks + sold
        self.held += np.abs(self.inventory)
        self._end_the_ruined()

    def closed(self):
        """What the program would have, were all that it holds closed now."""
        cost = CLOSING * np.abs(self.inventory) + IMPACT * np.square(self.inventory)
        return self.cash + self.inventory * self._drawn.value[self._step] - cost

    def seen_of_first(self):
        """Of the first game: value, bids and asks of both, what is held, and the capital; for people to look at."""
        quoted = [each[side][0] for each in (self._quotes, self._house) for side in ("bid", "ask")]
        return [self._drawn.value[self._step, 0], *quoted, self.inventory[0], self.closed()[0]]

    def _within_limits(self, own):
        return {
            "bid_size": self.alive * np.clip(own["bid_size"], 0, MOST_INVENTORY - self.inventory),
            "ask_size": self.alive * np.clip(own["ask_size"], 0, MOST_INVENTORY + self.inventory),
        }

    def _end_the_ruined(self):
        left = self.closed()
        over = self.alive & (left < RUINED * CAPITAL)
        self.cash, self.inventory = np.where(over, left, self.cash), np.where(over, 0.0, self.inventory)
        self.alive &= ~over


def taken(limits, own, house, own_first):
    """How many lots takers take of the program's, and of the house's; `limits` (games, takers) are the most they pay.

    own, house: (price, lots). The lower price comes first; of those who accept it, whoever would accept least.
    """
    better = (own[0] < house[0]) | ((own[0] == house[0]) & own_first)
    price = np.where(better, own[0], house[0]), np.where(better, house[0], own[0])
    lots = np.where(better, own[1], house[1]), np.where(better, house[1], own[1])
    accept = (limits >= price[0][:, None]).sum(axis=1), (limits >= price[1][:, None]).sum(axis=1)
    first = np.minimum(accept[0], lots[0])
    second = np.minimum(np.minimum(accept[1], accept[0] - first), lots[1])
    return np.where(better, first, second), np.where(better, second, first)
