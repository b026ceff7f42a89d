import type { PageTexts } from './texts.ts';

export const ja: PageTexts = {
  signIn: 'サインイン',
  goToApp: 'アプリに移動',
  continue: '続ける',
  closeWindow: 'このウィンドウを閉じる',
  whatDoesThisMean: '詳しい説明',
  signingIn: 'サインインしています',
  signedIn: 'サインインしました',
  signingOut: 'サインアウトしています',
  oneMoment: 'しばらくお待ちください…',
  openingApp: 'アプリを開いています…',
  signedOutTitle: 'サインアウトしました',
  signedOutText: 'もう一度アプリを使うには、サインインしてください。',
  signedOut: 'サインアウトしました',
  popupTitle: 'サインインしました',
  popupText: 'このウィンドウを閉じてかまいません。',
  details: '詳細',
  code: 'コード',
  request: 'リクエスト',
  errors: {
    login_required: { title: 'サインインしてください', text: 'このページを表示するには、サインインが必要です。' },
    session_expired: { title: 'もう一度サインインしてください', text: 'セッションが終了しました。' },
    step_up_required: {
      title: 'ご本人であることを確認してください',
      text: 'より安全な方法で、または改めてサインインする必要があります。続けるには、もう一度サインインしてください。',
    },
    repeat_required: {
      title: 'もう一度お試しください',
      text: '送信した内容が届きませんでした。もう一度送信してください。',
    },
    navigation_required: {
      title: 'サインインページを開いてください',
      text: 'サインインは、独立したウィンドウまたはタブでのみ行えます。',
    },
    request_forbidden: {
      title: 'リクエストは拒否されました',
      text: 'アプリ自体からのリクエストではありません。アプリを開き、そこからもう一度お試しください。',
    },
    access_denied: {
      title: 'この操作は許可されていません',
      text: 'お使いのアカウントには、必要な権限がありません。権限があるはずの場合は、サポート担当者にお問い合わせください。',
    },
    request_invalid: {
      title: '無効なリクエストです',
      text: 'このままでは処理できません。アプリに戻って、もう一度お試しください。',
    },
    login_transaction_invalid: {
      title: 'このサインインは完了できません',
      text: 'すでに完了しているか、時間がかかりすぎたか、別のブラウザーで開始されています。もう一度サインインしてください。',
    },
    return_to_invalid: {
      title: 'このサインイン用リンクは使えません',
      text: 'このアプリのページへのリンクではありません。アプリを開き、そこからサインインしてください。',
    },
    logout_sid_invalid: {
      title: 'このサインアウト用リンクは使えません',
      text: '別のセッションのリンクです。まだサインインしたままですので、アプリからサインアウトしてください。',
    },
    authorization_failed: {
      title: 'サインインできませんでした',
      text: 'もう一度お試しください。解決しない場合は、サポート担当者にお問い合わせください。',
    },
    provider_unavailable: {
      title: '現在サインインできません',
      text: '認証サービスを利用できません。しばらくしてから、もう一度お試しください。',
    },
    store_unavailable: {
      title: '現在アプリを利用できません',
      text: 'セッションを確認できません。サインインしたままです。しばらくしてから、もう一度お試しください。',
    },
    upstream_unavailable: {
      title: '現在アプリを利用できません',
      text: 'このアプリのサーバーに接続できません。しばらくしてから、もう一度お試しください。',
    },
    upstream_timeout: {
      title: '時間がかかりすぎました',
      text: 'このアプリのサーバーから時間内に応答がありませんでした。しばらくしてから、もう一度お試しください。',
    },
    route_not_found: { title: 'ページが見つかりません', text: 'このアドレスには何もありません。' },
    method_not_allowed: {
      title: 'ここではこの操作はできません',
      text: 'このアドレスは、この種類のリクエストを受け付けません。',
    },
    body_too_large: {
      title: 'サイズが大きすぎます',
      text: '送信した内容が、このアプリの上限を超えています。',
    },
    too_many_requests: {
      title: 'リクエストが多すぎます',
      text: '現在アプリが混み合っています。しばらくしてから、もう一度お試しください。',
    },
    internal_error: {
      title: '問題が発生しました',
      text: 'もう一度お試しください。解決しない場合は、下のリクエスト番号をサポート担当者にお伝えください。',
    },
    setup: {
      title: 'サインインの設定に問題があります',
      text: 'ご自身では解決できません。このアプリの運営者にお知らせください。',
    },
    sign_in_too_weak: {
      title: 'このサインインでは不十分です',
      text: 'サインインサービスでの確認が、この操作に必要な水準を満たしていません。状態は変わっていません。アプリに戻ってください。繰り返し発生する場合は、サポート担当者にお問い合わせください。',
    },
  },
};
