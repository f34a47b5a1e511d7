"""Words that set two questions apart when one has the one and the other the other: opposites, and members of small sets. Data.

A line is a set of sides, `|` between them, each side with its synonyms. Words stand in their bare form; wording.py reduces what
people write (`disabled`, `lowest`) to it. Written from what help desks, manuals and laws ask, not from one data set.
"""

from __future__ import annotations

from typing import Final

# ruff: noqa: E501

OPPOSITES: Final = """
before prior preceding earlier | after following later since
first initial earliest | last final latest | second | third
start begin launch commence | stop end finish halt terminate | pause suspend | resume continue
open | close shut
increase raise grow rise boost | decrease reduce lower cut shrink drop fall
more | less | fewer
most | least
max maximum maximal highest upper ceiling | min minimum minimal lowest lower floor
above over exceed greater | below under beneath smaller
big large huge bigger larger largest biggest | small little tiny smallest tiniest
long longer longest | short shorter shortest
high | low
fast faster fastest quick quicker quickest | slow slower slowest
cheap cheaper cheapest inexpensive | dear dearest expensive costly dearer priciest pricier
new newer newest | old older oldest
good better best | bad worse worst
hot | cold | warm
heavy | light
early | late
near nearest close closest | far farthest furthest
with | without
include | exclude except
import | export
upload | download
install | uninstall remove
add insert attach | remove delete detach drop
create make | delete destroy
enable activate | disable deactivate
on | off
in | out
up | down
upgrade | downgrade
lock | unlock
block | unblock
freeze | unfreeze thaw
encrypt | decrypt
encode | decode
compress zip | decompress unzip extract
mount | unmount
load | unload
connect | disconnect
subscribe | unsubscribe
follow | unfollow
mute | unmute
hide | show unhide reveal display
pack | unpack
bind | unbind
link pair | unlink unpair
log | unlog
login signin | logout signoff signout | signup register
deposit payin | withdraw withdrawal cashout
send sent | receive get received
pay | refund reimburse
buy purchase | sell
lend loan | borrow
give | take
credit | debit
income revenue earning | expense spending outgoing
profit gain | loss
asset | liability
payer sender | payee recipient beneficiary receiver
buyer purchaser customer | seller vendor merchant
employer | employee
landlord | tenant
lender creditor | borrower debtor
caller | callee
insurer | insured
licensor | licensee
assignor | assignee
grantor trustor | grantee trustee
franchisor | franchisee
mortgagor | mortgagee
lessor | lessee
plaintiff claimant | defendant
prosecution | defence defense
trainer | trainee
interviewer | interviewee
supplier | customer
issuer | holder
owner landlord | occupant
manager supervisor | subordinate
winner | loser
attacker | victim
author | reader
speaker | listener
predator | prey
ancestor | descendant
predecessor | successor
donor | donee
teacher tutor | student pupil
parent mother father | child son daughter
doctor physician | patient
host | guest
owner | renter
admin administrator operator | user member
reader subscriber consumer | writer publisher producer
client | server
master primary leader | slave replica secondary follower standby
lost lose missing | found find
win | lose
accept approve allow permit grant authorise authorize | reject decline deny refuse forbid prohibit block revoke ban
agree | disagree
succeed success successful pass | fail failure failed
valid | invalid
legal lawful | illegal unlawful
public | private
internal | external
inbound incoming ingress | outbound outgoing egress
domestic | international foreign abroad overseas
local | remote | global
online | offline
manual | automatic auto
physical | virtual
personal | business corporate commercial
single individual sole | joint shared
permanent | temporary
optional | mandatory required compulsory
required | optional
gross | net
fixed | variable
full whole entire | partial part
empty | full
input | output
read | write
push | pull
pull | push | fetch
commit | rollback revert
merge | split
join | leave quit
enter | exit leave
arrive arrival | depart departure leave
expand extend lengthen | contract shorten shrink
accelerate | decelerate
ascend ascending | descend descending
forward | backward reverse
left | right
top | bottom
front | back rear
inside indoor | outside outdoor
north northern | south southern | east eastern | west western
horizontal | vertical
male man men husband boy | female woman women wife girl
human person | animal pet
adult | child minor junior teen
young younger youngest | old elderly oldest
alive live | dead
birth born | death die
marry marriage wedding | divorce
morning | noon | afternoon | evening | night midnight
day daily | night nightly | week weekly | month monthly | quarter quarterly | year yearly annual annually | hour hourly | minute | second
today | tomorrow | yesterday
now currently current | previous former past | future next upcoming
next | previous
weekday | weekend
summer | winter | spring | autumn fall
monday | tuesday | wednesday | thursday | friday | saturday | sunday
january jan | february feb | march | april apr | june jun | july jul | august aug | september sept | october oct | november nov | december dec
all every each everybody everyone | some any several | none nobody
most all | some few
always | never | sometimes | often | rarely seldom
both | either | neither
only solely just | also
single | double | twin | triple | quadruple
half | quarter | third | whole | fifth
exact exactly | approx approximately
morethan | lessthan | minimum | maximum | exact | approx
am | pm
many | few
must shall require | may might | should
and | or
visa | mastercard maestro | amex
iphone ios ipad apple | android samsung google
windows | linux | ubuntu | debian | fedora | mac macos osx
chrome | firefox | safari | edge
http | https | ftp | sftp | ssh
tcp | udp
get | post | put | patch | delete
json | xml | yaml | csv | parquet | avro
pdf | docx word | xlsx excel
python | java | javascript | typescript | rust | go golang | ruby | php | kotlin | swift
mysql | postgres postgresql | sqlite | oracle | mongodb
kafka | rabbitmq | redis | milvus
aws | azure | gcp
docker | kubernetes
ram memory | disk
cpu | gpu
ipv4 | ipv6
sync synchronous | async asynchronous
stateful | stateless
lossless | lossy
wired | wireless
bluetooth | wifi
email | sms text | phone call | letter post | chat
phone | email | address | name | password | pin | passcode
cash | card | cheque check | crypto bitcoin
saving savings | current checking
rent lease | buy
euro eur | dollar usd | pound gbp sterling | yen jpy | franc chf | yuan cny | rupee inr | zloty pln | krona sek | crown czk
usa america us | uk britain england | germany | france | spain | italy | china | japan | india | canada | australia | ireland | poland | brazil | mexico | russia | sweden | norway | netherlands | switzerland | austria | portugal | greece | turkey | europe eu | africa | asia
london | paris | berlin | madrid | rome | tokyo | york | dublin
american | british | german | french | spanish | italian | chinese | japanese | indian | canadian | australian | irish | polish
english | french | german | spanish | italian | chinese | japanese
red | green | blue | yellow | black | white | orange | purple | pink | grey gray
gold | silver | bronze | platinum | metal
positive | negative
plus | minus
multiply | divide
addition | subtraction
sum total | average mean | median
row | column
width | height | depth
source origin | destination target
sunrise | sunset
breakfast | lunch | dinner
tea | coffee
sugar | salt
sweet | bitter sour
wet | dry
clean | dirty
safe | dangerous unsafe
strong | weak
rich | poor
easy simple | hard difficult complex
cause reason | effect consequence
problem | solution
question | answer
attack | defend defence
push | pop
serial sequential | parallel concurrent
static | dynamic
mutable | immutable
abstract | concrete
soft | hard
active | inactive passive
verb | noun
supply | demand
wholesale | retail
lend | borrow
prepay prepaid upfront | postpay postpaid arrears
overpay overpaid | underpay underpaid
overcharge overcharged | undercharge undercharged
appreciate | depreciate
hire | fire dismiss
promote | demote
praise | criticise criticize
love like | hate dislike
attract | repel
absorb | emit
inhale | exhale
build | destroy demolish
repair fix mend | break damage
save | spend delete
store | discard
remember | forget
renew | cancel expire
pending | completed complete done
temporary | permanent
expire | renew
register enrol enroll | deregister unenrol cancel
schedule | unschedule cancel
confirm | cancel
verify | falsify
true | false
yes | no
odd | even
prefix | suffix
uppercase | lowercase
mild | severe
acute | chronic
benign | malignant
hyper | hypo
hypertension | hypotension
hyperglycemia | hypoglycemia
upregulate upregulation | downregulate downregulation
agonist | antagonist
inhibit inhibition suppress prevent | promote activate stimulate induce cause
mother | father
husband | wife
brother | sister
son | daughter
uncle | aunt
my mine our | your | his | her | their
i me we you | he him | she | they
"""
