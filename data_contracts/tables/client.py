"""Tables about people: KYC, direct identifiers, protected attributes, applications."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from data_contracts.columns import col, table


@table(
    "clients",
    key=("client_id",),
    event="event_at",
    zh="客户 KYC",
    rules=("kyc_expires_on >= kyc_verified_on",),
)
class Clients:
    """KYC of a client as known at a time; a new version of the row is a new fact."""

    client_id: str = col("id", "Random client number", "客户编号")
    income_amt: Decimal | None = col(
        "money", "Declared yearly income", "申报年收入", nullable=True, low=0
    )
    net_worth_amt: Decimal | None = col("money", "Declared net worth", "申报净资产", nullable=True)
    liquid_assets_amt: Decimal | None = col(
        "money", "Liquid assets outside the account", "账户外流动资产", nullable=True, low=0
    )
    experience_months: int | None = col(
        "int", "Months of securities trading", "证券交易经验（月）", nullable=True, low=0
    )
    suitability_level: int | None = col(
        "int",
        "Risk-bearing level, C1 to C5",
        "风险承受能力等级 C1–C5",
        nullable=True,
        low=1,
        high=5,
    )
    literacy_score: int | None = col(
        "int", "Margin quiz, 0 to 100", "融资知识测验得分", nullable=True, low=0, high=100
    )
    bureau_status: str | None = col(
        "text",
        "Credit bureau status",
        "征信状态",
        nullable=True,
        choices=("clear", "minor", "major", "thin"),
    )
    kyc_verified_on: dt.date | None = col("date", "KYC last verified", "KYC 核验日", nullable=True)
    kyc_expires_on: dt.date | None = col("date", "KYC expires", "KYC 到期日", nullable=True)
    pep: bool = col("flag", "Politically exposed person", "政治公众人物")
    sanctioned: bool = col("flag", "On a sanctions list", "制裁名单")
    aml_level: str = col(
        "text", "Money-laundering risk", "洗钱风险等级", choices=("low", "medium", "high")
    )
    related_group_id: str | None = col(
        "id", "Group of related clients", "关联客户组", nullable=True
    )
    automated_decision_refused: bool = col(
        "flag", "Client refused purely automated decisions", "客户拒绝仅自动化决策"
    )


@table("identities", key=("client_id",), event="event_at", zh="身份信息（加密）")
class Identities:
    """Direct identifiers of a client, encrypted with the client's own key."""

    client_id: str = col("id", "Random client number", "客户编号", references="clients")
    ciphertext: bytes = col("bytes", "AES-256-GCM ciphertext", "密文", privacy="direct")
    key_id: str = col("id", "Which key opens it", "密钥编号")


@table("client_protected", key=("client_id",), event="event_at", zh="受保护属性（仅供公平性审计）")
class ClientProtected:
    """Protected attributes, for the fairness audit only; never read by a feature."""

    client_id: str = col("id", "Random client number", "客户编号", references="clients")
    age_band: str | None = col("text", "Age band", "年龄段", nullable=True, privacy="protected")
    sex: str | None = col("text", "Sex", "性别", nullable=True, privacy="protected")
    region: str | None = col("text", "Region", "地区", nullable=True, privacy="protected")


@table(
    "applications",
    key=("application_id",),
    event="submitted_at",
    zh="融资申请",
    known_after=True,
)
class Applications:
    """A request to borrow."""

    application_id: str = col("id", "Application number", "申请编号")
    client_id: str = col("id", "Random client number", "客户编号", references="clients")
    requested_debt_amt: Decimal = col("money", "Debt asked for", "申请额度", low=0)
    product: str = col("text", "Product", "产品")
    submitted_at: dt.datetime = col("timestamp", "Submitted", "提交时间")
